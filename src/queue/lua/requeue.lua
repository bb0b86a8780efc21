#!lua flags=allow-oom
-- Puts a job that the API surely did not accept back to wait for its next submit.
-- Transition: submitting -> waiting (retry later), submitting -> waiting (handed back)
-- Transition: submitting -> failed (refused alone)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] failed_retention_ms
-- ARGV[3..] items of 6: id, claim, delay_ms, attempts spent (0 or 1), event for the history, refusal:
--   in words how the API refused this job ('' = it did not)
-- Returns: a code per item: waiting, refused (the job ended for it), stale (the claim is another's),
--   gone (no such record)
-- Why: a refusal may be our fault, so it ends a job only when it came again and again, and others
--   were accepted since the first; never while the stage is halted, nor while a POST of the job is
--   unanswered.
local now = clock(ARGV[1])
local retention = { failed_ms = ARGV[2] }
local ITEM, FIRST = 6, 3
local REFUSED_ALONE_AFTER = 3

-- The record's `refusals`: how often, and how many jobs had been submitted at the first.
local function count_refusal(so_far)
  if redis.call('HGET', P .. 'stage:submit', 'state') == 'halted' then return so_far end
  local submitted = num(redis.call('HGET', P .. 'counters', 'submitted'))
  local count, at_first = (so_far or ''):match('^(%d+) (%d+)$')
  count, at_first = num(count) + 1, at_first and num(at_first) or submitted
  local alone = count >= REFUSED_ALONE_AFTER and submitted > at_first
  return int(count) .. ' ' .. int(at_first), alone
end

local codes, due, leaving, retried = {}, {}, {}, 0
for at = FIRST, #ARGV, ITEM do
  local id, claim, event, refusal = ARGV[at], ARGV[at + 1], ARGV[at + 4], ARGV[at + 5]
  local record = P .. 'job:' .. id
  -- checks
  local job = read(record, 'state', 'claim', 'attempts', 'retries', 'accepted-at',
    'history', 'expires-at', 'recoveries', 'refusals', 'unconfirmed', 'error')
  local code = not job[1] and 'gone' or job[2] ~= claim and 'stale' or job[1]
  local refusals, alone
  if code == 'submitting' and refusal ~= '' then refusals, alone = count_refusal(job[9]) end
  -- writes
  if code == 'submitting' and alone and num(job[10]) == 0 then
    code = 'refused'
    conclude(id, read_whole(record), 'failed', { 'error', refusal }, now, retention)
    leaving[#leaving + 1] = id
  elseif code == 'failed' and (job[11] or '') == refusal and refusal ~= '' then
    code = 'refused'
  elseif code == 'submitting' then
    code = 'waiting'
    local next_at = int(math.min(now + ARGV[at + 2], tonumber(job[7]) or math.huge))
    redis.call('HSET', record, 'state', 'waiting', 'attempts', num(job[3]) + ARGV[at + 3], 'retries',
      num(job[4]) + 1, 'next-at', next_at, 'history', remember(job[6], job[5], now, event))
    if refusals then redis.call('HSET', record, 'refusals', refusals) end
    forgive(record, job[8])
    retried = retried + 1
    due[#due + 1] = next_at
    due[#due + 1] = id
    leaving[#leaving + 1] = id
  elseif code ~= 'waiting' and code ~= 'gone' then
    code = 'stale'
  end
  codes[#codes + 1] = code
end
if retried > 0 then
  redis.call('HINCRBY', P .. 'counters', 'retried', retried)
  redis.call('ZADD', P .. 'submit', unpack(due))
end
wind_up()
if #leaving > 0 then redis.call('ZREM', P .. 'leases', unpack(leaving)) end
return codes
