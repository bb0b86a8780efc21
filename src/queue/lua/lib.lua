-- What the scripts share; put in front of each of them by scripts.rs. It writes only through
-- the functions below, and each of them is called in a script's writing part.
-- KEYS[1] is P, the prefix of all keys of the queue ("reelq:{name}:"): its hash tag puts all of
-- them into one cluster slot, so the keys made from it are where KEYS[1] is.

local P = KEYS[1]

-- The server's time in Unix ms, or the time that a test gives.
local function clock(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A whole number as Redis is to get it. Left to itself, a number is printed as a fraction would
-- be, which takes longer than most commands; and the numbers of a batch are much the same.
local texts = {}
local function int(number)
  -- What somebody wrote by hand may read as no number at all, which is no key of a table.
  if number ~= number then return '0' end
  local text = texts[number]
  if not text then
    text = string.format('%d', number)
    texts[number] = text
  end
  return text
end

-- Some fields of a record. What is no hash counts as no record: a key that somebody wrote must
-- not stop the jobs beside it.
local function read(record, ...)
  local fields = redis.pcall('HMGET', record, ...)
  return fields.err and {} or fields
end

-- A whole number of a record; 0 when there is none, or what stands there is none. A field that
-- somebody wrote by hand must not stop the jobs beside it.
local function num(text)
  local number = tonumber(text)
  return number and number >= 0 and number < 1e15 and math.floor(number) or 0
end

local HISTORY_MAX_BYTES = 400

-- The history with one more item, `+<ms since acceptance> <event>`. A run of polls that came to the
-- same keeps its first and its last; when the text grows too long, the items after the first go.
local function remember(history, accepted_at, now, event)
  history = history or ''
  if event:find('^poll') then
    local before, last = history:match('^(.*), %+%d+ ([^,]*)$')
    if last == event and before:match('%+%d+ ([^,]*)$') == event then history = before end
  end
  history = history .. ', +' .. int(now - (tonumber(accepted_at) or now)) .. ' ' .. event
  while #history > HISTORY_MAX_BYTES do
    local shorter, cut = history:gsub('^([^,]*), [^,]*,', '%1,', 1)
    if cut == 0 then return history:sub(1, HISTORY_MAX_BYTES) end
    history = shorter
  end
  return history
end

-- The fields by which it is judged when a job that is not yet accepted by the API ends by time.
local DEADLINE = { 'accepted-at', 'not-before', 'retried-at', 'expires-at' }

-- That time in Unix ms; `job` has the fields, DEADLINE begins at `at`. Age counts from the end of
-- the last halt at the earliest.
local function submit_deadline(job, at, max_age_ms, halt_ended)
  local from = math.max(num(job[at]), num(job[at + 1]), num(job[at + 2]), halt_ended or 0)
  return math.min(from + max_age_ms, tonumber(job[at + 3]) or math.huge)
end

-- Where a live job is; one that is polled may be in `leases` instead.
local PLACE = { waiting = 'submit', submitting = 'leases', unconfirmed = 'unconfirmed', polling = 'poll' }

-- What a result entry takes over from the record.
local CARRIED = {
  'accepted-at', 'revision', 'entry-id', 'user-id', 'customer-id', 'use-case-id',
  'whilter-request-id', 'posts', 'polls', 'submitted-at', 'traceparent', 'meta',
}

-- A record as far as its end needs it: state, claim, history, then CARRIED, which begins with
-- accepted-at and revision.
local function read_whole(record)
  return read(record, 'state', 'claim', 'history', unpack(CARRIED))
end

-- What the ends of one call have in common is written once for all of them, by `wind_up`.
local ended = { counts = {}, dead = {}, bodies = {} }

-- The one place where a job ends: its record, its result entry and its expiry. `job` is what
-- `read_whole` gave; `changes` are what the end adds to both, names and values in turn;
-- `retention` has the two times in ms. The caller has checked that the job is live, and takes it
-- out of its place after `wind_up`.
local function conclude(id, job, status, changes, now, retention)
  local record, now_ms = P .. 'job:' .. id, int(now)
  redis.call('HSET', record, 'state', status, 'ended-at', now_ms, 'history',
    remember(job[3], job[4], now, status), unpack(changes))
  local entry, last = changes, #changes
  for i = 1, #CARRIED do
    local value = job[3 + i]
    if value then
      entry[last + 1], entry[last + 2] = CARRIED[i], value
      last = last + 2
    end
  end
  redis.call('XADD', P .. 'results', '*', 'client-request-id', id, 'status', status, 'ended-at',
    now_ms, unpack(entry, 1, last))
  ended.counts[status] = (ended.counts[status] or 0) + 1
  if status == 'completed' then
    redis.call('PEXPIRE', record, retention.completed_ms)
    table.insert(ended.bodies, P .. 'body:' .. id)
  else
    redis.call('PEXPIRE', record, retention.failed_ms)
    redis.call('PEXPIRE', P .. 'body:' .. id, retention.failed_ms)
  end
  if status == 'failed' or status == 'expired' then
    table.insert(ended.dead, now_ms)
    table.insert(ended.dead, id)
  end
  redis.call('HDEL', record, 'worker', 'next-at', 'recoveries', 'streak', 'resend', 'held')
end

-- Writes what `conclude` has gathered: totals, the list of the dead, bodies that go.
local function wind_up()
  for status, count in pairs(ended.counts) do
    redis.call('HINCRBY', P .. 'counters', status, count)
  end
  if #ended.dead > 0 then redis.call('ZADD', P .. 'dead', unpack(ended.dead)) end
  if #ended.bodies > 0 then redis.call('DEL', unpack(ended.bodies)) end
end

-- Moves a job whose POST was sent and never answered to `unconfirmed`. It is sent again when
-- the grace after `sent_at` is over, or held until its deadline when it is to be held (which its
-- record keeps, since a deadline may move) or was sent again `max_resends` times. `job` has the
-- record's fields and the deadline; `changes` are
-- written as well.
local function to_unconfirmed(id, job, sent_at, event, changes, now, rules)
  local count = num(job.unconfirmed) + 1
  local due = sent_at + rules.grace_ms
  if job.hold or count > rules.max_resends then
    due = job.deadline
  end
  local record = P .. 'job:' .. id
  redis.call('HSET', record, 'state', 'unconfirmed', 'unconfirmed', count, 'next-at', int(due),
    'history', remember(job.history, job.accepted_at, now, event), unpack(changes))
  if job.hold then redis.call('HSET', record, 'held', '1') end
  redis.call('ZADD', P .. 'unconfirmed', int(due), id)
end

-- A settlement ends a job's run of crashes.
local function forgive(record, recoveries)
  if recoveries then redis.call('HDEL', record, 'recoveries') end
end

-- Whether a worker holds the job: under an old claim's number it may wait again.
local function in_hand(id)
  return redis.call('ZSCORE', P .. 'leases', id)
end

-- The due time at the head of a sorted set, or '' when it is empty. A score that somebody wrote by
-- hand may be no whole number.
local function head(place)
  local due = redis.call('ZRANGE', P .. place, 0, 0, 'WITHSCORES')[2]
  return due and int(math.max(0, math.min(tonumber(due), 1e15))) or ''
end

-- A learned rate that has grown to so many calls a second, or to the rate that is set, limits
-- nobody any more.
local RATE_FORGOTTEN = 1000

-- Calls a second that a limited stage may begin: what was learned, grown since it was reopened.
local function learned_rate(rate, growth, reopened_at, now)
  return (tonumber(rate) or 1) * math.min(tonumber(growth) or 1, 2) ^ ((now - reopened_at) / 1000)
end

-- How many calls a stage may begin now, at most `limit`, and at `rate` a second ('' = any).
-- Returns a table: `state` of its hash P`stage:<stage>`, if there is one; `take`; `probe`, whether
-- it is one call to find out how the API is, by another job than `avoid`; `again_at`, when to ask
-- again if nothing may be taken; `interval` and `tat` (when the calls begun so far would be over
-- at that rate) while a rate counts; `forget`, whether a limit is over. Changes nothing.
local function gate(stage, now, limit, rate)
  local fields = read(P .. 'stage:' .. stage, 'state', 'next-probe', 'probed', 'rate', 'growth')
  local state, next_probe = fields[1], num(fields[2])
  if state and now < next_probe then return { state = state, take = 0, again_at = next_probe } end
  if state and state ~= 'limited' then
    return { state = state, take = math.min(limit, 1), probe = true, avoid = fields[3] or '' }
  end
  local set = tonumber(rate) or math.huge
  local learned = state and learned_rate(fields[4], fields[5], next_probe, now) or math.huge
  local forget = state and learned >= math.min(set, RATE_FORGOTTEN)
  if rate == '' and (forget or not state) then return { state = state, take = limit, forget = forget } end
  local calls_a_second = math.min(set, learned)
  -- As if calls were spaced evenly: only a hundredth of a second's calls may begin at once.
  local interval, burst = 1000 / calls_a_second, math.max(1, calls_a_second / 100)
  local tat = math.max(tonumber(redis.call('GET', P .. 'rate:' .. stage)) or 0, now)
  local free = math.floor((now - tat) / interval + burst)
  return { state = state, take = math.max(0, math.min(limit, free)), interval = interval, tat = tat,
    ahead = (burst - 1) * interval, again_at = math.ceil(tat - (burst - 1) * interval), forget = forget }
end

-- The due members of a place for as many calls as the gate allows. A probe looks at some more, the
-- job of the last one comes last.
local function due_members(place, now, limit, gated)
  local found = redis.call('ZRANGE', P .. place, '-inf', now, 'BYSCORE', 'LIMIT', 0,
    gated.probe and 10 or limit)
  if not gated.probe then return found end
  local due = {}
  for _, id in ipairs(found) do
    if id ~= gated.avoid then due[#due + 1] = id end
  end
  if #due < #found then due[#due + 1] = gated.avoid end
  return due
end

-- Notes that a stage begins so many calls, the last of them by this job. A probe is not repeated
-- by others before `patience_ms` is over: its caller may have died.
local function pass(stage, gated, taken, id, now, patience_ms)
  if gated.forget then redis.call('DEL', P .. 'stage:' .. stage) end
  if gated.probe then
    redis.call('HSET', P .. 'stage:' .. stage, 'next-probe', int(now + patience_ms), 'probed', id,
      'probing', '1')
  elseif gated.interval then
    local tat = gated.tat + taken * gated.interval
    gated.again_at = math.ceil(tat - gated.ahead)
    redis.call('SET', P .. 'rate:' .. stage, string.format('%.3f', tat), 'PX', int(tat - now + 1000))
  end
end

-- Whether what a claim took is a probe of a closed stage; `again`: by an earlier call.
local function is_probe(stage, gated, taken, again)
  if not again then return gated.probe and #taken > 0 end
  local probe = read(P .. 'stage:' .. stage, 'probed', 'probing')
  return taken[1] and probe[1] == taken[1] and probe[2] == '1'
end

-- The jobs that a worker's claim of this number took, when the call comes again because its
-- reply was lost; none when a later claim has overtaken it; nil when it is new.
local function taken_before(claimed, number)
  local last = redis.call('GET', claimed) or '0'
  local last_number = tonumber(last:match('^%d+'))
  if number > last_number then return nil end
  local ids = {}
  if number == last_number then
    for id in last:gmatch(' (%S+)') do ids[#ids + 1] = id end
  end
  return ids
end
