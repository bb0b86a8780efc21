#!lua flags=allow-oom
-- Records that a POST was sent and its answer never came: it may be billed.
-- Transition: submitting -> unconfirmed (no answer)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] grace_ms: submit.unconfirmed_grace, counted from the POST's begin
-- ARGV[3] max_resends: submit.max_unconfirmed, 0 = hold
-- ARGV[4] max_age_ms: submit.max_age
-- ARGV[5..] items of 5: id, claim, event for the history, hold (1: never send it again),
--   sent_ago_ms: how long ago the POST began
-- Returns: a code per item: unconfirmed, stale (the claim is another's), gone (no such record)
local now = clock(ARGV[1])
local rules = { grace_ms = tonumber(ARGV[2]), max_resends = tonumber(ARGV[3]),
  max_age_ms = tonumber(ARGV[4]) }
local ITEM, FIRST = 5, 5

local codes, leaving = {}, {}
for at = FIRST, #ARGV, ITEM do
  local id, claim, event = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local record = P .. 'job:' .. id
  -- checks
  local job = read(record, 'state', 'claim', 'unconfirmed', 'history', 'recoveries', unpack(DEADLINE))
  local code = not job[1] and 'gone' or job[2] ~= claim and 'stale' or job[1]
  -- writes
  if code == 'submitting' then
    code = 'unconfirmed'
    to_unconfirmed(id, { unconfirmed = job[3], history = job[4], accepted_at = job[6],
      hold = ARGV[at + 3] == '1', deadline = submit_deadline(job, 6, rules.max_age_ms) },
      now - ARGV[at + 4], event, {}, now, rules)
    forgive(record, job[5])
    leaving[#leaving + 1] = id
  elseif code ~= 'unconfirmed' and code ~= 'gone' then
    code = 'stale'
  end
  codes[#codes + 1] = code
end
if #leaving > 0 then redis.call('ZREM', P .. 'leases', unpack(leaving)) end
return codes
