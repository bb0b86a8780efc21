#!lua flags=allow-oom
-- Takes due jobs into a worker's hands to be submitted: the POST begins with the reply.
-- Transition: waiting -> submitting (claimed), unconfirmed -> submitting (claimed)
-- Transition: waiting -> expired (overdue), waiting -> failed (overdue unanswered)
-- Transition: unconfirmed -> failed (overdue)
-- Transition: unconfirmed -> unconfirmed (held)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] worker
-- ARGV[3] lease_ms
-- ARGV[4] limit: at most 100
-- ARGV[5] number: of this claim among the worker's, rising
-- ARGV[6] max_age_ms: submit.max_age
-- ARGV[7] max_resends: submit.max_unconfirmed, 0 = hold
-- ARGV[8] failed_retention_ms
-- ARGV[9] rate: calls a second of the fleet, submit.rate; '' = any
-- Returns: now, next due ('' = none, or paused), the stage's state ('' = open), 1 for a probe of a
--   closed stage, how many expired and how many failed here, then items of 6: id,
--   claim, body, and as they stand in the record: attempts, retries, POSTs unanswered so far
-- Why: `resend` is an operator's word to send it once more, however often it was sent, or held.
-- Why: a probe rather takes a job that was never sent than one whose next POST may be its second.
-- Why: while the stage is halted no job ends by time; one past its expires-at is put off, for
--   others behind it may be probes.
-- Why: it takes no more when the bodies in the reply come to a megabyte.
-- Why: what is overdue ends here and not in a worker's hands, so that no POST is counted for it.
local now = clock(ARGV[1])
local worker, lease_ms, limit = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local number, max_age_ms, max_resends = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local retention, rate = { failed_ms = ARGV[8] }, ARGV[9]
local claimed = P .. 'claimed:submit:' .. worker
local MAX_REPLY_BYTES, PUT_OFF_MS = 1048576, 30000
local EXPECTED = { submit = 'waiting', unconfirmed = 'unconfirmed' }

-- checks
local reply, taken, bytes, last = { now, '', '', 0, 0, 0 }, {}, 0, 6
local gated = gate('submit', now, limit, rate)
local halted = gated.state == 'halted'
local function body_of(id)
  local body = redis.pcall('GET', P .. 'body:' .. id)
  return type(body) == 'string' and body
end

local function give(id, job, claim, body)
  bytes = bytes + (body and #body or 0)
  taken[#taken + 1] = id
  reply[last + 1], reply[last + 2], reply[last + 3] = id, claim, body
  reply[last + 4], reply[last + 5], reply[last + 6] = job[4], job[5], job[6]
  last = last + 6
end

local again = taken_before(claimed, number)
local function answer()
  local next_due = math.min(tonumber(head('unconfirmed')) or math.huge,
    tonumber(head('submit')) or math.huge)
  if next_due < math.huge then reply[2] = math.max(next_due, gated.again_at or 0) end
  reply[3], reply[4] = gated.state or '', is_probe('submit', gated, taken, again) and 1 or 0
  return reply
end

for _, id in ipairs(again or {}) do
  local job = read(P .. 'job:' .. id, 'state', 'claim', 'worker', 'attempts', 'retries',
    'unconfirmed')
  if job[1] == 'submitting' and job[3] == worker then give(id, job, job[2], body_of(id)) end
end
if again then return answer() end
if redis.call('EXISTS', P .. 'paused') == 1 then
  reply[3] = gated.state or ''
  return reply
end
if gated.take == 0 then return answer() end
local halt_ended = halted and now or num(redis.call('GET', P .. 'halt-ended:submit'))

-- writes
local leased, until_ms = {}, int(now + lease_ms)
local function take(id, record, job)
  local claim, posts, body = int(num(job[2]) + 1), int(num(job[3]) + 1), body_of(id)
  redis.call('HSET', record, 'state', 'submitting', 'claim', claim, 'posts', posts,
    'worker', worker)
  if job[7] or job[8] then redis.call('HDEL', record, 'resend', 'held') end
  leased[#leased + 1] = until_ms
  leased[#leased + 1] = id
  give(id, job, claim, body)
end

local function overdue(id, record, unanswered)
  local status, fault = 'expired', 'submit-deadline: not submitted in time'
  if unanswered > 0 then
    status, fault = 'failed', 'submit-unconfirmed: a POST was sent, its answer never came'
  end
  conclude(id, read_whole(record), status, { 'error', fault }, now, retention)
end

-- What becomes of one due member; says whether it leaves its place.
local function decide(id, place)
  local record = P .. 'job:' .. id
  local job = read(record, 'state', 'claim', 'posts', 'attempts', 'retries', 'unconfirmed', 'resend',
    'held', unpack(DEADLINE))
  if job[1] ~= EXPECTED[place] then
    redis.call('HINCRBY', P .. 'counters', 'quarantined', 1)
    return true
  end
  local deadline, unanswered = submit_deadline(job, 9, max_age_ms, halt_ended), num(job[6])
  local is_over, put_off_to = deadline <= now, nil
  if is_over and halted then
    put_off_to = now + PUT_OFF_MS
  elseif not is_over and place == 'unconfirmed' and not job[7]
    and (job[8] or unanswered > max_resends) then
    put_off_to = deadline
  end
  if put_off_to then
    redis.call('HSET', record, 'next-at', int(put_off_to))
    redis.call('ZADD', P .. place, int(put_off_to), id)
    return false
  end
  if is_over then overdue(id, record, unanswered) else take(id, record, job) end
  return true
end

local leaving, left = {}, gated.take
local places = gated.probe and { 'submit', 'unconfirmed' } or { 'unconfirmed', 'submit' }
for _, place in ipairs(places) do
  leaving[place] = {}
  local due = due_members(place, now, left, gated)
  if not gated.probe then left = left - #due end
  for _, id in ipairs(due) do
    if bytes >= MAX_REPLY_BYTES or #taken >= gated.take then break end
    if decide(id, place) then table.insert(leaving[place], id) end
  end
end
if #leased > 0 then
  redis.call('SET', claimed, int(number) .. ' ' .. table.concat(taken, ' '), 'PX', lease_ms)
  redis.call('ZADD', P .. 'leases', unpack(leased))
  pass('submit', gated, #taken, taken[#taken], now, lease_ms)
end
wind_up()
reply[5], reply[6] = ended.counts.expired or 0, ended.counts.failed or 0
for place, ids in pairs(leaving) do
  if #ids > 0 then redis.call('ZREM', P .. place, unpack(ids)) end
end
return answer()
