#!lua
-- Makes live jobs due now, and lets ended ones live again as a new revision.
-- Transition: waiting -> waiting (hurried), unconfirmed -> unconfirmed (hurried)
-- Transition: polling -> polling (hurried)
-- Transition: failed -> polling (followed again), expired -> polling (followed again)
-- Transition: cancelled -> polling (followed again)
-- Transition: failed -> waiting (started over), expired -> waiting (started over)
-- Transition: cancelled -> waiting (started over)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] how: '' = as it stands, resubmit = start over also when the API has the job, held = only
--   what is unconfirmed
-- ARGV[3] dry: 1 = change nothing, only tell
-- ARGV[4..] items of 1: id
-- Returns: two per item: the state it is in then and the revision, refused and why, gone and ''
-- Why: what the API accepted and did not fail is followed, not bought again.
-- Why: a URL that the API has pushed meanwhile is kept, unless the job is to be bought again, so that
--   the next claim ends it with that.
-- Why: an unanswered POST is remembered when a job starts over: the API may have it.
-- Why: the place comes before the life: an ended job in a place is taken out by whoever finds it.
local now, how, dry = clock(ARGV[1]), ARGV[2], ARGV[3] == '1'
local ITEM, FIRST = 1, 4
local REOPENS = { failed = true, expired = true, cancelled = true }
local now_ms, woken, resubmit = int(now), {}, how == 'resubmit'

-- checks and writes, job by job
local function is_followed(whilter_id, fault)
  local failed = (fault or ''):find('^generation%-failed')
  return whilter_id and whilter_id ~= '' and not failed and not resubmit
end

local function refusal(id, state, followed, expires_at)
  if how == 'held' and state ~= 'unconfirmed' then return 'it is not held any more' end
  if state == 'submitting' then return 'it is being submitted' end
  if state == 'completed' then return 'it has its video' end
  if state == 'polling' and resubmit then return 'the API has it; cancel it before it starts over' end
  if PLACE[state] then return nil end
  if not REOPENS[state] then return 'its record is damaged' end
  if followed then return nil end
  if (tonumber(expires_at) or math.huge) <= now then return 'its expires-at has passed' end
  if redis.call('EXISTS', P .. 'body:' .. id) == 0 then return 'its body is gone' end
end

local function hurry(id, record, state)
  local place = PLACE[state]
  local due = tonumber(ask('ZSCORE', P .. place, id) or nil)
  -- One that is polled and without a due time is in a worker's hands: being checked.
  if not due and state == 'polling' and in_hand(id) then return end
  local changes = state == 'unconfirmed' and { 'resend', '1' } or {}
  if not due or due > now then
    local history, accepted_at = unpack(read(record, 'history', 'accepted-at'), 1, 2)
    redis.call('HSET', record, 'next-at', now_ms, 'history',
      remember(history, accepted_at, now, 'retried'), unpack(changes))
    redis.call('ZADD', P .. place, now_ms, id)
    woken[place == 'poll' and 'poll' or 'submit'] = true
  elseif #changes > 0 then
    redis.call('HSET', record, unpack(changes))
  end
end

-- What a job that starts over keeps of its life so far.
local function carried_over(record)
  local whilter_id, also, unconfirmed =
    unpack(read(record, 'whilter-request-id', 'also-accepted', 'unconfirmed'), 1, 3)
  local changes = { 'attempts', '0', 'retries', '', 'refusals', '', 'whilter-request-id', '',
    'submitted-at', '', 'pushed-at', '' }
  local function change(field, value)
    table.insert(changes, field)
    table.insert(changes, value)
  end
  if unconfirmed then change('unconfirmed', '1') end
  if resubmit then
    change('pushed-url', '')
    change('push-trust', '')
  end
  if whilter_id and whilter_id ~= '' then
    change('also-accepted', also and also .. ' ' .. whilter_id or whilter_id)
  end
  return changes
end

-- What is left of an end when the job lives again.
-- It was voided when it began to live again, so that a call that is cut off leaves nothing of it.
local function forget_end(id, record, state)
  redis.call('HDEL', record, 'result', 'error', 'ended-at', 'source', 'video-url', 'image-url', 'worker',
    'resend', 'held', 'recoveries', 'streak')
  if state == 'waiting' then
    redis.call('HDEL', record, 'retries', 'refusals', 'whilter-request-id', 'submitted-at', 'pushed-at')
    if resubmit then redis.call('HDEL', record, 'pushed-url', 'push-trust') end
  end
  redis.call('ZREM', P .. 'dead', id)
end

local function reopen(id, record, state, revision)
  local history, accepted_at = unpack(read(record, 'history', 'accepted-at'), 1, 2)
  local changes = state == 'waiting' and carried_over(record) or {}
  heal_result(id)
  redis.call('ZADD', P .. PLACE[state], now_ms, id)
  redis.call('PERSIST', record)
  redis.call('PERSIST', P .. 'body:' .. id)
  redis.call('HSET', record, 'state', state, 'revision', revision, 'polls', '0', 'next-at', now_ms,
    'retried-at', now_ms, 'history', remember(history, accepted_at, now, 'retried'), 'worker', '',
    'result', '', 'error', '', 'source', '', 'video-url', '', 'image-url', '', unpack(changes))
  forget_end(id, record, state)
  count('reopened', 1)
  -- What ended it may have been cut off before it left its place.
  for _, place in pairs(PLACE) do
    if place ~= PLACE[state] then leave(place, { id }) end
  end
  woken[PLACE[state]] = true
end

local reply = {}
for at = FIRST, #ARGV, ITEM do
  local id = ARGV[at]
  local record = P .. 'job:' .. id
  local state, fault, whilter_id, revision, expires_at, ended_at = unpack(read(record, 'state', 'error',
    'whilter-request-id', 'revision', 'expires-at', 'ended-at'), 1, 6)
  local followed = is_followed(whilter_id, fault)
  local code, detail = state or 'gone', revision or ''
  local why = state and refusal(id, state, followed, expires_at)
  if why then
    code, detail = 'refused', why
  elseif REOPENS[state] then
    code, detail = followed and 'polling' or 'waiting', int(num(revision) + 1)
    if not dry then reopen(id, record, code, detail) end
  elseif state and not dry then
    -- An earlier call let it live again and was cut off.
    if ended_at then forget_end(id, record, state) end
    hurry(id, record, state)
  end
  reply[#reply + 1] = code
  reply[#reply + 1] = detail
end
for place in pairs(woken) do wake(place) end
return reply
