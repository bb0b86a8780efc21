#!lua flags=allow-oom
-- Puts a job that the API surely did not accept back to wait for its next submit.
-- Transition: submitting -> waiting (retry later), submitting -> waiting (handed back)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2..] items of 5: id, claim, delay_ms, attempts spent (0 or 1), event for the history
-- Returns: a code per item: waiting, stale (the claim is another's), gone (no such record)
local now = clock(ARGV[1])
local ITEM, FIRST = 5, 2

local codes, due, leaving = {}, {}, {}
for at = FIRST, #ARGV, ITEM do
  local id, claim, event = ARGV[at], ARGV[at + 1], ARGV[at + 4]
  local record = P .. 'job:' .. id
  -- checks
  local job = read(record, 'state', 'claim', 'attempts', 'retries', 'accepted-at',
    'history', 'expires-at', 'recoveries')
  local code = not job[1] and 'gone' or job[2] ~= claim and 'stale' or job[1]
  -- writes
  if code == 'submitting' then
    code = 'waiting'
    local next_at = int(math.min(now + ARGV[at + 2], tonumber(job[7]) or math.huge))
    redis.call('HSET', record, 'state', 'waiting', 'attempts', num(job[3]) + ARGV[at + 3], 'retries',
      num(job[4]) + 1, 'next-at', next_at, 'history', remember(job[6], job[5], now, event))
    forgive(record, job[8])
    due[#due + 1] = next_at
    due[#due + 1] = id
    leaving[#leaving + 1] = id
  elseif code ~= 'waiting' and code ~= 'gone' then
    code = 'stale'
  end
  codes[#codes + 1] = code
end
if #leaving > 0 then
  redis.call('HINCRBY', P .. 'counters', 'retried', #leaving)
  redis.call('ZADD', P .. 'submit', unpack(due))
  redis.call('ZREM', P .. 'leases', unpack(leaving))
end
return codes
