#!lua flags=allow-oom
-- Records that the API accepted a job: from now on its video is followed.
-- Transition: submitting -> polling (accepted), unconfirmed -> polling (accepted)
-- Transition: waiting -> polling (accepted), submitting -> completed (accepted and pushed)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] completed_retention_ms
-- ARGV[3] failed_retention_ms
-- ARGV[4..] items of 3: id, whilter-request-id, delay_ms until the first status check
-- Returns: a code per item: polling, pushed (it ended with the URL that the API had pushed), also
--   (accepted before under another id), late (the job had ended; the id is recorded), gone (no such
--   record)
-- Why: an accepted id is true whoever brings it, so no claim is asked for.
-- Why: the record of a job in hand comes before its place, since what was bought is known then
--   whatever happens; a polled job may be in `leases`.
local now, retention = clock(ARGV[1]), { completed_ms = ARGV[2], failed_ms = ARGV[3] }
local ITEM, FIRST = 3, 4
local now_ms = int(now)

-- checks and writes, job by job
-- Records the id for a job that had one before, or has ended; says which.
local function another(id, record, state, whilter_id)
  -- Its result must say what was known at its end.
  if state ~= 'polling' then heal_result(id) end
  local known, also = unpack(read(record, 'whilter-request-id', 'also-accepted'), 1, 2)
  local all = ' ' .. (known or '') .. ' ' .. (also or '') .. ' '
  if not known then
    redis.call('HSET', record, 'whilter-request-id', whilter_id)
  elseif not all:find(' ' .. whilter_id .. ' ', 1, true) then
    redis.call('HSET', record, 'also-accepted', also and also .. ' ' .. whilter_id or whilter_id)
  end
  if state == 'polling' then return known == whilter_id and 'polling' or 'also' end
  -- What ended without a check by a push of the API ended when it was accepted.
  local polls, source = unpack(read(record, 'polls', 'source'), 1, 2)
  return known == whilter_id and source == 'webhook' and num(polls) == 0 and 'pushed' or 'late'
end

local codes, due, leaving, submitted = {}, {}, { submit = {}, unconfirmed = {}, leases = {} }, 0
local function follow(id, place, next_at)
  local leaves = leaving[place]
  due[#due + 1], due[#due + 2], leaves[#leaves + 1] = next_at, id, id
end

-- The API has pushed the URL before, and is believed.
local function complete(id, record, whilter_id)
  redis.call('HSET', record, 'whilter-request-id', whilter_id, 'submitted-at', now_ms)
  local url = unpack(read(record, 'pushed-url'), 1, 1)
  conclude(id, record, read_whole(record), 'completed', { 'video-url', url, 'source', 'webhook' }, now)
end

for at = FIRST, #ARGV, ITEM do
  local id, whilter_id, delay_ms = unpack(ARGV, at, at + ITEM - 1)
  local record, next_at = P .. 'job:' .. id, int(now + delay_ms)
  local state, history, accepted_at, recoveries, pushed_at, push_trust = unpack(read(record, 'state',
    'history', 'accepted-at', 'recoveries', 'pushed-at', 'push-trust'), 1, 6)
  -- A push came before the answer: the first check is due for it.
  if num(pushed_at) > 0 and num(pushed_at) < now + delay_ms then next_at = pushed_at end
  local place, code = state ~= 'polling' and PLACE[state], 'polling'
  if state == 'submitting' and push_trust == 'accept' then
    complete(id, record, whilter_id)
    code, submitted, leaving.leases[#leaving.leases + 1] = 'pushed', submitted + 1, id
  elseif place then
    -- From there it might be sent again, or held for a day: it is due in `poll` before it is followed.
    if place ~= 'leases' then redis.call('ZADD', P .. 'poll', next_at, id) end
    redis.call('HSET', record, 'state', 'polling', 'whilter-request-id', whilter_id,
      'submitted-at', now_ms, 'next-at', next_at, 'history',
      remember(history, accepted_at, now, 'submitted'))
    if recoveries or place == 'unconfirmed' then
      redis.call('HDEL', record, 'recoveries', 'resend', 'held')
    end
    follow(id, place, next_at)
    submitted = submitted + 1
  else
    code = state and another(id, record, state, whilter_id) or 'gone'
    local polls, due_at = unpack(read(record, 'polls', 'next-at'), 1, 2)
    -- Never checked yet: what is left of the submit is left by an earlier call that was cut off.
    if state == 'polling' and num(polls) == 0 then
      redis.call('HDEL', record, 'recoveries', 'resend', 'held')
      redis.call('ZADD', P .. 'poll', 'NX', int(num(due_at)), id)
      for _, ids in pairs(leaving) do ids[#ids + 1] = id end
    end
  end
  codes[#codes + 1] = code
end
if #due > 0 then redis.call('ZADD', P .. 'poll', unpack(due)) end
if submitted > 0 then count('submitted', submitted) end
wind_up(retention)
for place, ids in pairs(leaving) do leave(place, ids) end
return codes
