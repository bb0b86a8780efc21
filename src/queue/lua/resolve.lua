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
-- Why: the job is made due in `poll` first: that is its place when the API has it, and where what a
--   script leaves undone is found soon when it ends. Nothing is sent again from there.
local now, retention = clock(ARGV[1]), { completed_ms = ARGV[2], failed_ms = ARGV[3] }
local id, to, known = ARGV[4], ARGV[5], ARGV[6]
local KNOWN = { polling = 'whilter-request-id', completed = 'video-url', failed = 'error' }
local record, now_ms = P .. 'job:' .. id, int(now)

-- checks
local whole = read_whole(record)
local state, history, accepted_at, revision = unpack(whole, 1, 4)
if not state then return { 'gone', '' } end
local before = unpack(read(record, KNOWN[to]), 1, 1)
local again = state == to and before == known
if not again and state ~= 'unconfirmed' then
  return { 'refused', 'it is not unconfirmed but ' .. state }
end

-- writes
local ends = to ~= 'polling'
if again then
  heal(id)
else
  redis.call('ZADD', P .. 'poll', now_ms, id)
  if ends then
    conclude(id, record, whole, to, { KNOWN[to], known, 'source', 'operator' }, now)
  else
    redis.call('HSET', record, 'state', to, KNOWN[to], known, 'submitted-at', now_ms, 'next-at', now_ms,
      'history', remember(history, accepted_at, now, 'resolved'))
    redis.call('HDEL', record, 'recoveries', 'resend', 'held')
    count('submitted', 1)
  end
end
wind_up(retention)
if ends then leave('poll', { id }) end
leave('unconfirmed', { id })
if not again and not ends then wake('poll') end
return { to, revision or '' }
