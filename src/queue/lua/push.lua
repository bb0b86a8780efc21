#!lua flags=allow-oom
-- Notes what the API pushed: the job's next check is made now, or the job ends with the URL.
-- Transition: polling -> polling (announced), expired -> expired (announced)
-- Transition: unconfirmed -> unconfirmed (announced)
-- Transition: polling -> completed (pushed), expired -> completed (pushed)
-- Transition: unconfirmed -> completed (pushed), waiting -> completed (pushed)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] completed_retention_ms
-- ARGV[3] failed_retention_ms
-- ARGV[4] trust: '' = anybody may have sent it, authenticated = the API did, accept = and its URL
--   is published unseen
-- ARGV[5] unconfirmed_grace_ms: submit.unconfirmed_grace
-- ARGV[6..] items of 3: id, user-id, video-url
-- Returns: a code per item: completed (known, when the call comes again), checked (its check is due
--   for it), soon (a check is due anyway), kept (for the answer to its POST), recorded (it had ended
--   otherwise), known (it was completed before), unsent (no POST of it has begun), foreign (another
--   user's), unknown
-- Why: what nobody can have asked the API for is not of this life of the id: `unsent`.
-- Why: a check that a push asks for has its due time in `pushed-at` too; by that its result is told
--   from one that would have come anyway.
-- Why: the job is made due in `poll` before it ends, so that what a script leaves undone is found.
local now, trust, grace_ms = clock(ARGV[1]), ARGV[4], tonumber(ARGV[5])
local retention = { completed_ms = ARGV[2], failed_ms = ARGV[3] }
local ITEM, FIRST, now_ms = 3, 6, int(now)
-- A job is checked for pushes once a second at most; for those that anybody may have sent, the
-- whole fleet makes a check every 50 ms at most.
local AGAIN_MS, UNTRUSTED_EVERY_MS = 1000, 50

-- checks and writes, job by job
-- When the check that a push asks for may begin; nil when that is not before `due`.
local function check_at(pushed_at, due)
  local at = math.max(now, num(pushed_at) + AGAIN_MS)
  if trust ~= '' then return at < due and at or nil end
  local free_at = math.max(now, num(ask('GET', P .. 'rate:push')))
  at = math.max(at, free_at)
  if at >= due then return nil end
  local next_free = free_at + UNTRUSTED_EVERY_MS
  redis.call('SET', P .. 'rate:push', int(next_free), 'PX', int(next_free - now))
  return at
end

-- Makes a check of an accepted job due; while one is in hand, `repoll` makes it due after that.
local function announce(id, record, pushed_at, next_at, noted)
  local due, held = tonumber(ask('ZSCORE', P .. 'poll', id) or nil), in_hand(id)
  local asked_for = held and num(pushed_at) > num(next_at) and num(pushed_at)
  local at = check_at(pushed_at, due or asked_for or math.huge)
  if not at then return (asked_for or due == num(pushed_at)) and 'checked' or 'soon' end
  if held then
    -- Later than what the check in hand was due for.
    at = math.max(at, num(next_at) + 1)
    redis.call('HSET', record, 'pushed-at', int(at), unpack(noted))
  else
    redis.call('ZADD', P .. 'poll', int(at), id)
    redis.call('HSET', record, 'next-at', int(at), 'pushed-at', int(at), unpack(noted))
    if head('poll') == int(at) then wake('poll') end
  end
  return 'checked'
end

-- Keeps it until the POST is answered. Whoever was never answered is not sent again so soon.
local function keep(id, record, state, is_first, pushed_at, next_at, noted)
  local at = check_at(pushed_at, pushed_at and num(pushed_at) or math.huge)
  if state == 'unconfirmed' and is_first then
    local due = int(math.max(num(next_at), now + grace_ms))
    redis.call('ZADD', P .. 'unconfirmed', due, id)
    redis.call('HSET', record, 'next-at', due)
  end
  redis.call('HSET', record, 'pushed-at', int(at or num(pushed_at)), unpack(noted))
  return 'kept'
end

local gone = {}
local function complete(id, record, state, url)
  local whole, changes = read_whole(record), { 'video-url', url, 'source', 'webhook' }
  if state == 'expired' then
    end_again(id, record, whole, changes, now)
  else
    redis.call('ZADD', P .. 'poll', now_ms, id)
    conclude(id, record, whole, 'completed', changes, now)
  end
  gone[#gone + 1] = id
  return 'completed'
end

local function receive(id, user_id, url)
  local record = P .. 'job:' .. id
  local state, owner, posts, whilter_id, known_url, known_trust, pushed_at, next_at = unpack(read(record,
    'state', 'user-id', 'posts', 'whilter-request-id', 'pushed-url', 'push-trust', 'pushed-at',
    'next-at'), 1, 8)
  if not state then return 'unknown' end
  if owner ~= user_id then return 'foreign' end
  local accepted, posted = whilter_id and whilter_id ~= '', num(posts) > 0
  -- What cannot be checked is taken from the API's own word.
  local checkable = state == 'polling' or state == 'expired' and accepted
  if state ~= 'submitting' and (PLACE[state] or state == 'expired') and posted
    and trust ~= '' and (trust == 'accept' or not checkable) then
    return complete(id, record, state, url)
  end
  -- What the API itself has said is not replaced by what anybody may have said.
  local noted = {}
  if trust ~= '' then
    noted = { 'pushed-url', url, 'push-trust', trust }
  elseif not known_trust or known_trust == '' then
    noted = { 'pushed-url', url }
  end
  if checkable then return announce(id, record, pushed_at, next_at, noted) end
  if PLACE[state] then
    if not posted then return 'unsent' end
    return keep(id, record, state, not known_url, pushed_at, next_at, noted)
  end
  if heal(id) then gone[#gone + 1] = id end
  if state == 'completed' then return 'known' end
  if #noted > 0 then redis.call('HSET', record, unpack(noted)) end
  return 'recorded'
end

local codes = {}
for at = FIRST, #ARGV, ITEM do
  codes[#codes + 1] = receive(unpack(ARGV, at, at + ITEM - 1))
end
wind_up(retention)
for _, place in pairs(PLACE) do leave(place, gone) end
return codes
