#!lua flags=allow-oom
-- Takes jobs out of the hands of a worker that died, or that held them too long.
-- Transition: polling -> polling (lease lost), submitting -> unconfirmed (lease lost)
-- Transition: submitting -> failed (crash loop)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] dead: the worker that is dead; '' = only leases that have run out
-- ARGV[3] skip: how many leases of the living to pass over (with `dead`)
-- ARGV[4] limit: at most 100
-- ARGV[5] grace_ms: submit.unconfirmed_grace, counted from now: the POST began before
-- ARGV[6] max_resends: submit.max_unconfirmed, 0 = hold
-- ARGV[7] max_age_ms: submit.max_age
-- ARGV[8] max_recoveries: consecutive crashes after which a submit fails
-- ARGV[9] failed_retention_ms
-- ARGV[10] silent_ms: after which silence a worker counts as dead
-- Returns: how many were taken, how many leases were looked at, how many jobs failed
-- Why: whoever has beaten since it was judged lives, and keeps what it holds.
-- Why: the claim rises, so that a late failure of the old holder is refused.
local now = clock(ARGV[1])
local dead, skip, limit = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local rules = { grace_ms = tonumber(ARGV[5]), max_resends = tonumber(ARGV[6]),
  max_age_ms = tonumber(ARGV[7]) }
local max_recoveries, retention = tonumber(ARGV[8]), { failed_ms = ARGV[9] }
local silent_ms, leases = tonumber(ARGV[10]), P .. 'leases'

-- checks
local beat = dead ~= '' and redis.call('ZSCORE', P .. 'workers', dead)
if beat and tonumber(beat) > now - silent_ms then return { 0, 0, 0 } end
local held
if dead == '' then
  held = redis.call('ZRANGE', leases, '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)
else
  held = redis.call('ZRANGE', leases, skip, skip + limit - 1)
end

-- writes
local now_ms = int(now)
local function recover(id, record, job)
  local recoveries, claim = num(job[3]) + 1, int(num(job[2]) + 1)
  local changes = { 'claim', claim, 'recoveries', recoveries }
  if job[1] == 'polling' then
    redis.call('HSET', record, 'next-at', now_ms, 'history',
      remember(job[5], job[7], now, 'lease lost'), unpack(changes))
    redis.call('ZADD', P .. 'poll', now_ms, id)
  elseif job[1] == 'submitting' and recoveries >= max_recoveries then
    redis.call('HSET', record, 'claim', claim)
    conclude(id, read_whole(record), 'failed', { 'error',
      'crash-loop: its worker ended ' .. recoveries .. ' times while submitting it' }, now, retention)
  elseif job[1] == 'submitting' then
    to_unconfirmed(id, { unconfirmed = job[4], history = job[5], accepted_at = job[7],
      deadline = submit_deadline(job, 7, rules.max_age_ms) }, now, 'lease lost', changes, now, rules)
  else
    redis.call('HINCRBY', P .. 'counters', 'quarantined', 1)
  end
end

local leaving = {}
for _, id in ipairs(held) do
  local record = P .. 'job:' .. id
  local job = read(record, 'state', 'claim', 'recoveries', 'unconfirmed', 'history', 'worker',
    unpack(DEADLINE))
  if dead == '' or job[6] == dead or not job[6] then
    recover(id, record, job)
    leaving[#leaving + 1] = id
  end
end
wind_up()
if #leaving > 0 then redis.call('ZREM', leases, unpack(leaving)) end
return { #leaving, #held, ended.counts.failed or 0 }
