#!lua flags=allow-oom
-- Takes due jobs into a worker's hands for their next status check.
-- Transition: polling -> polling (claimed)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] worker
-- ARGV[3] lease_ms
-- ARGV[4] limit: at most 100
-- ARGV[5] number: of this claim among the worker's, rising
-- ARGV[6] rate: calls a second of the fleet, poll.rate; '' = any
-- Returns: now, next due ('' = none), the stage's state ('' = open), 1 for a probe of a closed
--   stage, then items of 9: id, claim, polls (this one included), and as they stand in the record:
--   whilter-request-id, next-at (when it was due), submitted-at, retried-at, expires-at, streak
local now = clock(ARGV[1])
local worker, lease_ms, limit = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local number, rate = tonumber(ARGV[5]), ARGV[6]
local claimed = P .. 'claimed:poll:' .. worker

-- checks
local again = taken_before(claimed, number)
local gated = gate('poll', now, limit, rate)
local due = again or gated.take > 0 and due_members('poll', now, gated.take, gated) or {}

local reply, taken, last, leaving = { now, '', '', 0 }, {}, 4, {}
local function give(id, job, claim, polls)
  taken[#taken + 1] = id
  reply[last + 1], reply[last + 2], reply[last + 3] = id, claim, polls
  for i = 1, 6 do reply[last + 3 + i] = job[2 + i] end
  last = last + 9
end

-- writes
local leased, until_ms = {}, int(now + lease_ms)
for _, id in ipairs(due) do
  if not again and #taken >= gated.take then break end
  leaving[#leaving + 1] = id
  local record = P .. 'job:' .. id
  local job = read(record, 'state', 'claim', 'whilter-request-id', 'next-at', 'submitted-at',
    'retried-at', 'expires-at', 'streak', 'polls', 'worker')
  if again then
    if job[1] == 'polling' and job[10] == worker then give(id, job, job[2], job[9]) end
  elseif job[1] == 'polling' and job[3] then
    local claim, polls = int(num(job[2]) + 1), int(num(job[9]) + 1)
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
  pass('poll', gated, #taken, taken[#taken], now, lease_ms)
end
if not again and #leaving > 0 then redis.call('ZREM', P .. 'poll', unpack(leaving)) end
local next_due = tonumber(head('poll'))
if next_due then reply[2] = math.max(next_due, gated.again_at or 0) end
reply[3], reply[4] = gated.state or '', is_probe('poll', gated, taken, again) and 1 or 0
return reply
