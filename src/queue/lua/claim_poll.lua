#!lua flags=allow-oom
-- Takes due jobs into a worker's hands for their next status check.
-- Transition: polling -> polling (claimed)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] worker
-- ARGV[3] lease_ms
-- ARGV[4] limit: at most 100
-- Returns: now, next due ('' = none), then items of 8: id, claim, whilter-request-id, polls (this
--   one included), next-at (when it was due), submitted-at, expires-at ('' = none),
--   streak ('' = none)
local now = clock(ARGV[1])
local worker, lease_ms, limit = ARGV[2], tonumber(ARGV[3]), ARGV[4]

-- checks
local due = redis.call('ZRANGE', P .. 'poll', '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)

-- writes
local reply, leased = { now, '' }, {}
for _, id in ipairs(due) do
  local record = P .. 'job:' .. id
  local job = read(record, 'state', 'claim', 'whilter-request-id', 'polls',
    'next-at', 'submitted-at', 'expires-at', 'streak')
  if job[1] == 'polling' and job[3] then
    local claim, polls = (job[2] or 0) + 1, (job[4] or 0) + 1
    redis.call('HSET', record, 'claim', claim, 'polls', polls, 'worker', worker)
    leased[#leased + 1] = now + lease_ms
    leased[#leased + 1] = id
    for _, value in ipairs({ id, claim, job[3], polls, job[5] or now, job[6] or now, job[7] or '',
      job[8] or '' }) do
      reply[#reply + 1] = value
    end
  else
    redis.call('HINCRBY', P .. 'counters', 'quarantined', 1)
  end
end
if #leased > 0 then
  redis.call('HINCRBY', P .. 'counters', 'polled', #leased / 2)
  redis.call('ZADD', P .. 'leases', unpack(leased))
end
if #due > 0 then redis.call('ZREM', P .. 'poll', unpack(due)) end
reply[2] = head('poll')
return reply
