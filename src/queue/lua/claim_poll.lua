#!lua flags=allow-oom
-- Takes due jobs into a worker's hands for their next status check.
-- Transition: polling -> polling (claimed)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] worker
-- ARGV[3] lease_ms
-- ARGV[4] limit: at most 100
-- ARGV[5] number: of this claim among the worker's, rising
-- Returns: now, next due ('' = none), then items of 8: id, claim, whilter-request-id, polls (this
--   one included), next-at (when it was due), when it was accepted or since retried, expires-at
--   ('' = none), streak ('' = none)
local now = clock(ARGV[1])
local worker, lease_ms, limit, number = ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local claimed = P .. 'claimed:poll:' .. worker

-- checks
local again = taken_before(claimed, number)
local due = again or redis.call('ZRANGE', P .. 'poll', '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)

local reply, taken, last = { now, '' }, {}, 2
local function give(id, job, claim, polls)
  taken[#taken + 1] = id
  reply[last + 1], reply[last + 2], reply[last + 3], reply[last + 4] = id, claim, job[3], polls
  reply[last + 5] = job[5] and int(num(job[5])) or now
  local since = math.max(num(job[6]), num(job[10]))
  reply[last + 6] = since > 0 and int(since) or now
  reply[last + 7], reply[last + 8] = job[7] and int(num(job[7])) or '', job[8] or ''
  last = last + 8
end

-- writes
local leased, until_ms = {}, int(now + lease_ms)
for _, id in ipairs(due) do
  local record = P .. 'job:' .. id
  local job = read(record, 'state', 'claim', 'whilter-request-id', 'polls', 'next-at',
    'submitted-at', 'expires-at', 'streak', 'worker', 'retried-at')
  if again then
    if job[1] == 'polling' and job[9] == worker then give(id, job, int(num(job[2])), int(num(job[4]))) end
  elseif job[1] == 'polling' and job[3] then
    local claim, polls = int(num(job[2]) + 1), int(num(job[4]) + 1)
    redis.call('HSET', record, 'claim', claim, 'polls', polls, 'worker', worker)
    leased[#leased + 1] = until_ms
    leased[#leased + 1] = id
    give(id, job, claim, polls)
  else
    redis.call('HINCRBY', P .. 'counters', 'quarantined', 1)
  end
end
if #leased > 0 then
  redis.call('HINCRBY', P .. 'counters', 'polled', #taken)
  redis.call('SET', claimed, int(number) .. ' ' .. table.concat(taken, ' '), 'PX', lease_ms)
  redis.call('ZADD', P .. 'leases', unpack(leased))
end
if not again and #due > 0 then redis.call('ZREM', P .. 'poll', unpack(due)) end
reply[2] = head('poll')
return reply
