#!lua flags=allow-oom
-- Takes due jobs into a worker's hands for their next status check.
-- Transition: polling -> polling (claimed), expired -> expired (claimed)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] worker
-- ARGV[3] lease_ms
-- ARGV[4] limit: at most 100
-- ARGV[5] number: of this claim among the worker's, rising
-- ARGV[6] rate: calls a second of the fleet, poll.rate; '' = any
-- ARGV[7] completed_retention_ms
-- ARGV[8] failed_retention_ms
-- Returns: now, next due ('' = none), the stage's state ('' = open), 1 for a probe of a closed
--   stage, a list of what was taken out of its place, then items of 12: id, claim, polls (this one
--   included), the job's pair, and as they stand in the record: whilter-request-id, next-at (when it was
--   due), submitted-at, retried-at, expires-at, streak, pushed-at, accepted-at
-- Why: while no check of any job has been understood for a minute, few are made, of all that are due.
-- Why: a script that ends a job elsewhere makes it due here first, so that what it leaves undone is
--   found soon. A live job that comes here in that way is put back into its own place.
local now, worker, lease_ms, limit, number, rate = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3]),
  tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local retention = { completed_ms = ARGV[7], failed_ms = ARGV[8] }
local claimed = P .. 'claimed:poll:' .. worker
local FAILING_FOR_MS, FAILING_RATE = 60000, 10

-- checks
local again = taken_before(claimed, number)
local failing_since = num(ask('GET', P .. 'checks-fail-since'))
local failing = failing_since > 0 and now - failing_since > FAILING_FOR_MS
if failing then rate = math.min(tonumber(rate) or math.huge, FAILING_RATE) end
local gated = gate('poll', now, limit, rate, worker)
gated.picks = gated.picks or failing
local due = again or gated.take > 0 and due_members('poll', now, gated.take, gated) or {}

local items, last, out, misplaced, leaving = {}, 0, {}, {}, {}
local taken, records, claims, polls = {}, {}, {}, {}
for _, id in ipairs(due) do
  if not again and #taken >= gated.take then break end
  local record = P .. 'job:' .. id
  local state, claim, polled, whilter_id, due_at, submitted_at, retried_at, expires_at, streak,
    pushed_at, accepted_at, use_case_id, customer_id = unpack(read(record, 'state', 'claim', 'polls',
      'whilter-request-id', 'next-at', 'submitted-at', 'retried-at', 'expires-at', 'streak', 'pushed-at',
      'accepted-at', 'use-case-id', 'customer-id'), 1, 13)
  local gives = state == 'polling' or checked_again(state, record)
  if again then
    gives = gives and in_hand(id) and unpack(read(record, 'worker'), 1, 1) == worker
  elseif gives then
    claim, polled = int(num(claim) + 1), int(num(polled) + 1)
  else
    misplaced[#misplaced + 1] = id
  end
  if gives then
    local n = #taken + 1
    taken[n], records[n], claims[n], polls[n] = id, record, claim, polled
    items[last + 1], items[last + 2], items[last + 3] = id, claim, polled
    items[last + 4], items[last + 5] = join_pair(use_case_id, customer_id), whilter_id or ''
    items[last + 6], items[last + 7], items[last + 8] = due_at, submitted_at, retried_at
    items[last + 9], items[last + 10], items[last + 11] = expires_at, streak, pushed_at
    items[last + 12] = accepted_at
    last = last + 12
  end
  if gives or not again then leaving[#leaving + 1] = id end
end

-- writes
if not again and #taken > 0 then
  lease(claimed, number, taken, now, lease_ms)
  for i = 1, #records do
    redis.call('HSET', records[i], 'claim', claims[i], 'polls', polls[i], 'worker', worker)
  end
  pass('poll', gated, taken, now, lease_ms)
  count('polled', #taken)
end
for _, id in ipairs(misplaced) do
  if not put_right(id, now, lease_ms) then
    take_out(id)
    out[#out + 1] = id
  end
end
wind_up(retention)
if #out > 0 then count('quarantined', #out) end
leave('poll', leaving)
return { now, next_due(gated, 'poll'), gated.state or '',
  is_probe('poll', gated, taken, again) and 1 or 0, out, unpack(items, 1, last) }
