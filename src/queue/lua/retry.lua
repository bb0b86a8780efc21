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
-- ARGV[2] resubmit: 1 = start over also when the API has the job
-- ARGV[3] dry: 1 = change nothing, only tell
-- ARGV[4..] items of 1: id
-- Returns: two per item: the state it is in then and the revision, refused and why, gone and ''
-- Why: what the API accepted and did not fail is followed, not bought again.
-- Why: an unanswered POST is remembered when a job starts over: the API may have it.
local now, resubmit, dry = clock(ARGV[1]), ARGV[2] == '1', ARGV[3] == '1'
local ITEM, FIRST = 1, 4
local REOPENS = { failed = true, expired = true, cancelled = true }
local now_ms = int(now)

-- checks
local function is_followed(job)
  local failed = (job[2] or ''):find('^generation%-failed')
  return job[3] and not failed and not resubmit
end

local function refusal(id, job)
  local state = job[1]
  if state == 'submitting' then return 'it is being submitted' end
  if state == 'completed' then return 'it has its video' end
  if state == 'polling' and resubmit then return 'the API has it; cancel it before it starts over' end
  if PLACE[state] then return nil end
  if not REOPENS[state] then return 'its record is damaged' end
  if is_followed(job) then return nil end
  if (tonumber(job[7]) or math.huge) <= now then return 'its expires-at has passed' end
  if redis.call('EXISTS', P .. 'body:' .. id) == 0 then return 'its body is gone' end
end

-- writes
local function wake(place)
  redis.call('PUBLISH', P .. 'wake', place == 'poll' and 'poll' or 'submit')
end

local function hurry(id, record, job)
  local place = PLACE[job[1]]
  local due = tonumber(redis.call('ZSCORE', P .. place, id))
  -- A job without a score is in a worker's hands: being checked.
  if not due then return end
  if place == 'unconfirmed' then redis.call('HSET', record, 'resend', '1') end
  if due <= now then return end
  redis.call('HSET', record, 'next-at', now_ms, 'history', remember(job[5], job[6], now, 'retried'))
  redis.call('ZADD', P .. place, now_ms, id)
  wake(place)
end

local function start_over(record, job)
  if job[3] then
    redis.call('HSET', record, 'also-accepted', job[9] and job[9] .. ' ' .. job[3] or job[3])
  end
  if job[8] then redis.call('HSET', record, 'unconfirmed', '1') end
  redis.call('HSET', record, 'state', 'waiting', 'attempts', '0')
  redis.call('HDEL', record, 'retries', 'refusals', 'whilter-request-id', 'submitted-at', 'pushed-url')
end

local function reopen(id, record, job, state, revision)
  redis.call('HSET', record, 'state', state, 'revision', revision, 'polls', '0', 'next-at', now_ms,
    'retried-at', now_ms, 'history', remember(job[5], job[6], now, 'retried'))
  if state == 'waiting' then start_over(record, job) end
  redis.call('PERSIST', record)
  redis.call('PERSIST', P .. 'body:' .. id)
  redis.call('ZADD', P .. PLACE[state], now_ms, id)
  redis.call('HINCRBY', P .. 'counters', 'reopened', 1)
  redis.call('HDEL', record, 'error', 'ended-at', 'source', 'video-url', 'image-url')
  redis.call('ZREM', P .. 'dead', id)
  wake(PLACE[state])
end

local reply = {}
for at = FIRST, #ARGV, ITEM do
  local id = ARGV[at]
  local record = P .. 'job:' .. id
  local job = read(record, 'state', 'error', 'whilter-request-id', 'revision', 'history', 'accepted-at',
    'expires-at', 'unconfirmed', 'also-accepted')
  local code, detail = job[1], job[4] or ''
  local why = code and refusal(id, job)
  if not code then
    code = 'gone'
  elseif why then
    code, detail = 'refused', why
  elseif REOPENS[code] then
    code, detail = is_followed(job) and 'polling' or 'waiting', int(num(job[4]) + 1)
    if not dry then reopen(id, record, job, code, detail) end
  elseif not dry then
    hurry(id, record, job)
  end
  reply[#reply + 1] = code
  reply[#reply + 1] = detail
end
return reply
