#!lua flags=allow-oom
-- One beat of a worker, and what its loops want to know, in one call a second.
-- Transition: none
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] worker
-- ARGV[3] silent_ms: after which silence a worker counts as dead
-- Returns: now, paused (1 or 0), next due of submit, of unconfirmed and of poll ('' = none); state,
--   reason ('' = open) and when it is tried again of the stages submit and poll; then the names of
--   at most 10 silent workers
local now = clock(ARGV[1])
local worker, silent_ms = ARGV[2], tonumber(ARGV[3])

-- checks
local silent = redis.call('ZRANGE', P .. 'workers', '-inf', now - silent_ms, 'BYSCORE', 'LIMIT', 0, 10)

-- writes
redis.call('ZADD', P .. 'workers', now, worker)
local reply = { now, redis.call('EXISTS', P .. 'paused'), head('submit'), head('unconfirmed'),
  head('poll') }
for _, stage in ipairs({ 'submit', 'poll' }) do
  local fields = read(P .. 'stage:' .. stage, 'state', 'reason', 'next-probe', 'rate', 'growth')
  -- A limit is over also when nobody calls any more.
  if fields[1] == 'limited'
    and learned_rate(fields[4], fields[5], num(fields[3]), now) >= RATE_FORGOTTEN then
    redis.call('DEL', P .. 'stage:' .. stage)
    fields = {}
  end
  reply[#reply + 1] = fields[1] or ''
  reply[#reply + 1] = fields[2] or ''
  reply[#reply + 1] = num(fields[3])
end
for _, name in ipairs(silent) do
  if name ~= worker then reply[#reply + 1] = name end
end
return reply
