#!lua flags=allow-oom
-- Settles a job whose POST was never answered, by what an operator found out.
-- Transition: unconfirmed -> polling (found accepted), unconfirmed -> completed (found ready)
-- Transition: unconfirmed -> failed (given up)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] completed_retention_ms
-- ARGV[3] failed_retention_ms
-- ARGV[4] id
-- ARGV[5] state: polling, completed or failed
-- ARGV[6] what is known: the whilter-request-id, the video's URL, or the error
-- Returns: the state and the revision, refused and why, gone and ''
local now = clock(ARGV[1])
local retention = { completed_ms = ARGV[2], failed_ms = ARGV[3] }
local id, to, known = ARGV[4], ARGV[5], ARGV[6]
local KNOWN = { polling = 'whilter-request-id', completed = 'video-url', failed = 'error' }
local record, now_ms = P .. 'job:' .. id, int(now)

-- checks
local job = read_whole(record)
if not job[1] then return { 'gone', '' } end
if job[1] == to and read(record, KNOWN[to])[1] == known then return { to, job[5] or '' } end
if job[1] ~= 'unconfirmed' then return { 'refused', 'it is not unconfirmed but ' .. job[1] } end

-- writes
if to == 'polling' then
  redis.call('HSET', record, 'state', to, KNOWN[to], known, 'submitted-at', now_ms, 'next-at', now_ms,
    'history', remember(job[3], job[4], now, 'resolved'))
  redis.call('HDEL', record, 'recoveries', 'resend', 'held')
  redis.call('HINCRBY', P .. 'counters', 'submitted', 1)
  redis.call('ZADD', P .. 'poll', now_ms, id)
  redis.call('PUBLISH', P .. 'wake', 'poll')
else
  conclude(id, job, to, { KNOWN[to], known, 'source', 'operator' }, now, retention)
  wind_up()
end
redis.call('ZREM', P .. 'unconfirmed', id)
return { to, job[5] or '' }
