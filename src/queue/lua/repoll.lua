#!lua flags=allow-oom
-- Puts a job whose video is not ready back to wait for its next status check.
-- Transition: polling -> polling (not yet), polling -> polling (handed back)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2..] items of 5: id, claim, delay_ms, streak ('' = an understood answer ended it), event for
--   the history
-- Returns: a code per item: polling, stale (the claim is another's, or the job has ended), gone
-- Why: only a job in hand is put back, so a repeated call changes nothing.
local now = clock(ARGV[1])
local ITEM, FIRST = 5, 2

local codes, due, leaving = {}, {}, {}
for at = FIRST, #ARGV, ITEM do
  local id, claim, streak = ARGV[at], ARGV[at + 1], ARGV[at + 3]
  local record = P .. 'job:' .. id
  -- checks
  local job = read(record, 'state', 'claim', 'accepted-at', 'history', 'recoveries', 'streak')
  local code = not job[1] and 'gone' or (job[1] ~= 'polling' or job[2] ~= claim) and 'stale'
    or 'polling'
  -- writes
  if code == 'polling' and in_hand(id) then
    local next_at = int(now + ARGV[at + 2])
    redis.call('HSET', record, 'next-at', next_at, 'history',
      remember(job[4], job[3], now, ARGV[at + 4]))
    if streak ~= '' then
      redis.call('HSET', record, 'streak', streak)
    elseif job[6] then
      redis.call('HDEL', record, 'streak')
    end
    forgive(record, job[5])
    due[#due + 1] = next_at
    due[#due + 1] = id
    leaving[#leaving + 1] = id
  end
  codes[#codes + 1] = code
end
if #leaving > 0 then
  redis.call('ZADD', P .. 'poll', unpack(due))
  redis.call('ZREM', P .. 'leases', unpack(leaving))
end
return codes
