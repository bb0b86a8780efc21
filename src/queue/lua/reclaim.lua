#!lua flags=allow-oom
-- Takes jobs out of the hands of a worker that died, or that held them too long.
-- Transition: polling -> polling (lease lost), submitting -> unconfirmed (lease lost)
-- Transition: submitting -> failed (crash loop), expired -> expired (lease lost)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] dead: the worker that is dead; '' = only leases that have run out
-- ARGV[3] skip: how many leases of the living to pass over (with `dead`)
-- ARGV[4] limit: at most 100
-- ARGV[5] unconfirmed_grace_ms: submit.unconfirmed_grace, counted from now: the POST began before
-- ARGV[6] max_unconfirmed: submit.max_unconfirmed, 0 = hold
-- ARGV[7] max_age_ms: submit.max_age
-- ARGV[8] max_recoveries: consecutive crashes after which a submit fails
-- ARGV[9] completed_retention_ms
-- ARGV[10] failed_retention_ms
-- ARGV[11] silent_ms: after which silence a worker counts as dead
-- Returns: how many were taken, how many leases were looked at, how many jobs failed, a list of
--   what had no record or had ended
-- Why: whoever has beaten since it was judged lives, and keeps what it holds.
-- Why: the claim rises, so that a late failure of the old holder is refused.
local now, dead, skip, limit = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local rules = { unconfirmed_grace_ms = tonumber(ARGV[5]), max_unconfirmed = tonumber(ARGV[6]),
  max_age_ms = tonumber(ARGV[7]) }
local max_recoveries = tonumber(ARGV[8])
local retention = { completed_ms = ARGV[9], failed_ms = ARGV[10] }
local silent_ms, leases, now_ms = tonumber(ARGV[11]), P .. 'leases', int(now)

-- checks and writes, job by job
local beat = dead ~= '' and ask('ZSCORE', P .. 'workers', dead)
if beat and tonumber(beat) > now - silent_ms then return { 0, 0, 0, {} } end
local held
if dead == '' then
  held = ask('ZRANGE', leases, '-inf', now, 'BYSCORE', 'LIMIT', 0, limit) or {}
else
  held = ask('ZRANGE', leases, skip, skip + limit - 1) or {}
end

local function recover(id, record, state, claim, recoveries)
  local crashes, next_claim = num(recoveries) + 1, int(num(claim) + 1)
  local changes = { 'claim', next_claim, 'recoveries', int(crashes) }
  if state == 'polling' or state == 'expired' then
    local history, accepted_at = unpack(read(record, 'history', 'accepted-at'), 1, 2)
    redis.call('ZADD', P .. 'poll', now_ms, id)
    if state == 'expired' then redis.call('HSET', record, 'pushed-at', now_ms, 'next-at', now_ms) end
    redis.call('HSET', record, 'next-at', now_ms, 'history',
      remember(history, accepted_at, now, 'lease lost'), unpack(changes))
  elseif crashes >= max_recoveries then
    redis.call('HSET', record, 'claim', next_claim)
    conclude(id, record, read_whole(record), 'failed', { 'error',
      'crash-loop: its worker ended ' .. int(crashes) .. ' times while submitting it' }, now)
  else
    to_unconfirmed(id, read_unconfirmed(record), now, false, 'lease lost', changes, now, rules)
  end
end

local leaving, out = {}, {}
for _, id in ipairs(held) do
  local record = P .. 'job:' .. id
  local state, claim, recoveries, holder =
    unpack(read(record, 'state', 'claim', 'recoveries', 'worker'), 1, 4)
  if dead == '' or holder == dead or not holder then
    leaving[#leaving + 1] = id
    if state == 'polling' or state == 'submitting' or checked_again(state, record) then
      recover(id, record, state, claim, recoveries)
    elseif not put_right(id, now) then
      take_out(id)
      out[#out + 1] = id
    end
  end
end
wind_up(retention)
if #out > 0 then count('quarantined', #out) end
leave('leases', leaving)
return { #leaving, #held, ended_as('failed'), out }
