#!lua flags=allow-oom
-- Takes due jobs into a worker's hands to be submitted: the POST begins with the reply.
-- Transition: waiting -> submitting (claimed), unconfirmed -> submitting (claimed)
-- Transition: waiting -> expired (overdue), waiting -> failed (overdue unconfirmed)
-- Transition: unconfirmed -> failed (overdue)
-- Transition: unconfirmed -> unconfirmed (held)
-- Transition: waiting -> completed (pushed before), unconfirmed -> completed (pushed before)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] worker
-- ARGV[3] lease_ms
-- ARGV[4] limit: at most 100
-- ARGV[5] number: of this claim among the worker's, rising
-- ARGV[6] rate: calls a second of the fleet, submit.rate; '' = any
-- ARGV[7] completed_retention_ms
-- ARGV[8] failed_retention_ms
-- ARGV[9] max_age_ms: submit.max_age
-- ARGV[10] max_unconfirmed: submit.max_unconfirmed, 0 = hold
-- Returns: now, next due ('' = none, or paused), the stage's state ('' = open), 1 for a probe of a
--   closed stage, a list of what was taken out of its place, how many expired, failed and
--   completed here, the transaction to check before the next POST is tried ('' = none), then items of
--   8: id, claim, body, POSTs begun (this one included), the job's pair, and as they stand in the
--   record: attempts, retries, POSTs unanswered so far
-- Why: what the API itself has pushed a URL for is not bought again: it ends with that.
-- Why: `resend` is an operator's word to send it once more, however often it was sent, or held.
-- Why: a probe rather takes a job that was never sent than one whose next POST may be its second.
-- Why: a stage that broke by calls that may have bought something asks by a status check first: of a job
--   that was accepted, else of a transaction that nobody has.
-- Why: while the stage is halted no job ends by time; one past its expires-at is put off, for
--   others behind it may be probes.
-- Why: it takes no more when the bodies in the reply come to a megabyte.
-- Why: what is overdue ends here and not in a worker's hands, so that no POST is counted for it.
local now, worker, lease_ms, limit, number, rate = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3]),
  tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local retention = { completed_ms = ARGV[7], failed_ms = ARGV[8] }
local max_age_ms, max_unconfirmed = tonumber(ARGV[9]), tonumber(ARGV[10])
local claimed, MAX_REPLY_BYTES, PUT_OFF_MS = P .. 'claimed:submit:' .. worker, 1048576, 30000
local NEVER_SENT = { 'expired', { 'error', 'submit-deadline: not submitted in time' } }
local UNKNOWN = { 'failed', { 'error', 'submit-unconfirmed: a POST was sent, its answer never came' } }
local EXPECTED = { submit = 'waiting', unconfirmed = 'unconfirmed' }
-- What is read of a member: an operator's marks are on unconfirmed jobs only.
local READ = { submit = { 'state', 'claim', 'posts', 'attempts', 'retries', 'unconfirmed', 'push-trust',
  'use-case-id', 'customer-id', unpack(DEADLINE) } }
READ.unconfirmed = { unpack(READ.submit) }
READ.unconfirmed[#READ.submit + 1], READ.unconfirmed[#READ.submit + 2] = 'resend', 'held'

-- checks
local gated, again = gate('submit', now, limit, rate, worker), taken_before(claimed, number)
if not again and redis.call('EXISTS', P .. 'paused') == 1 then
  return { now, '', gated.state or '', 0, {}, 0, 0, 0, '' }
end
local halted = gated.state == 'halted'
local halt_ended = halted and now or num(ask('GET', P .. 'halt-ended:submit'))
local items, last, bytes, taken, records, claims, posts, marked = {}, 0, 0, {}, {}, {}, {}, {}

local function give(id, claim, begun, pair, attempts, retries, unknown)
  local body = ask('GET', P .. 'body:' .. id) or false
  bytes = bytes + (body and #body or 0)
  taken[#taken + 1] = id
  items[last + 1], items[last + 2], items[last + 3], items[last + 4] = id, claim, body, begun
  items[last + 5], items[last + 6], items[last + 7], items[last + 8] = pair, attempts, retries, unknown
  last = last + 8
end

local function give_again(id)
  local state, claim, holder, posted, attempts, retries, unconfirmed = unpack(read(P .. 'job:' .. id,
    'state', 'claim', 'worker', 'posts', 'attempts', 'retries', 'unconfirmed'), 1, 7)
  if state == 'submitting' and holder == worker and in_hand(id) then
    give(id, claim, posted, pair_of(P .. 'job:' .. id), attempts, retries, unconfirmed)
  end
end

-- What is to become of one due member, with a detail: it is taken, or put off until another time, or
-- ends with these changes, or is not in its place.
local function look(id, place)
  local record = P .. 'job:' .. id
  local state, claim, posted, attempts, retries, unconfirmed, push_trust, use_case_id, customer_id,
    accepted_at, not_before, retried_at, expires_at, resend, held =
    unpack(read(record, unpack(READ[place])), 1, 15)
  if state ~= EXPECTED[place] then return 'misplaced' end
  if push_trust and push_trust ~= '' then
    local url = unpack(read(record, 'pushed-url'), 1, 1)
    return 'completed', { 'video-url', url or '', 'source', 'webhook' }
  end
  local deadline =
    submit_deadline(max_age_ms, halt_ended, accepted_at, not_before, retried_at, expires_at)
  if deadline <= now and halted then return 'put off', now + PUT_OFF_MS end
  if deadline <= now then return unpack(num(unconfirmed) > 0 and UNKNOWN or NEVER_SENT, 1, 2) end
  local holds = held or num(unconfirmed) > max_unconfirmed
  if place == 'unconfirmed' and holds and not resend then return 'put off', deadline end
  local n = #taken + 1
  records[n], claims[n], posts[n] = record, int(num(claim) + 1), int(num(posted) + 1)
  if resend or held then marked[#marked + 1] = record end
  give(id, claims[n], posts[n], join_pair(use_case_id, customer_id), attempts, retries, unconfirmed)
  return 'taken'
end

local others, leaving, left = {}, { submit = {}, unconfirmed = {} }, gated.take
local function look_through(place)
  local due, leaves = due_members(place, now, left, gated), leaving[place]
  if not gated.picks then left = left - #due end
  for _, id in ipairs(due) do
    if bytes >= MAX_REPLY_BYTES or #taken >= gated.take then return end
    local verdict, detail = look(id, place)
    if verdict ~= 'put off' then leaves[#leaves + 1] = id end
    if verdict ~= 'taken' then
      others[#others + 1] = { id = id, place = place, verdict = verdict, detail = detail }
    end
  end
end

if again then
  for _, id in ipairs(again) do give_again(id) end
elseif gated.take > 0 and not gated.asks then
  look_through(gated.picks and 'submit' or 'unconfirmed')
  look_through(gated.picks and 'unconfirmed' or 'submit')
end
local to_check = not again and transaction_to_check(gated) or ''

-- writes
if again then
  -- The first call may have been cut off.
  for _, id in ipairs(taken) do redis.call('HDEL', P .. 'job:' .. id, 'resend', 'held') end
  leaving = { submit = taken, unconfirmed = taken }
elseif #taken > 0 then
  lease(claimed, number, taken, now, lease_ms)
  for i = 1, #records do
    redis.call('HSET', records[i], 'state', 'submitting', 'claim', claims[i], 'posts', posts[i],
      'worker', worker)
  end
  for _, record in ipairs(marked) do redis.call('HDEL', record, 'resend', 'held') end
  pass('submit', gated, taken, now, lease_ms)
elseif to_check ~= '' then
  pass('submit', gated, { 'check' }, now, lease_ms)
end

local out = {}
for _, it in ipairs(others) do
  local record = P .. 'job:' .. it.id
  if it.verdict == 'put off' then
    redis.call('ZADD', P .. it.place, int(it.detail), it.id)
    redis.call('HSET', record, 'next-at', int(it.detail))
  elseif ENDS[it.verdict] then
    conclude(it.id, record, read_whole(record), it.verdict, it.detail, now)
  elseif not put_right(it.id, now, lease_ms) then
    take_out(it.id)
    out[#out + 1] = it.id
  end
end
wind_up(retention)
if #out > 0 then count('quarantined', #out) end
for place, ids in pairs(leaving) do leave(place, ids) end
return { now, next_due(gated, 'unconfirmed', 'submit'), gated.state or '',
  is_probe('submit', gated, taken, again) and 1 or 0, out, ended_as('expired'), ended_as('failed'),
  ended_as('completed'), to_check, unpack(items, 1, last) }
