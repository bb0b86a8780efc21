#!lua flags=allow-oom
-- Records that a POST was sent and its answer never came: it may be billed.
-- Transition: submitting -> unconfirmed (no answer)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] worker: who held the jobs
-- ARGV[3] unconfirmed_grace_ms: submit.unconfirmed_grace, counted from the POST's begin
-- ARGV[4] max_unconfirmed: submit.max_unconfirmed, 0 = hold
-- ARGV[5] max_age_ms: submit.max_age
-- ARGV[6..] items of 5: id, claim, event for the history, hold (1: never send it again),
--   sent_ago_ms: how long ago the POST began
-- Returns: a code per item: unconfirmed, stale (the claim is another's), gone (no such record)
local now, worker = clock(ARGV[1]), ARGV[2]
local rules = { unconfirmed_grace_ms = tonumber(ARGV[3]), max_unconfirmed = tonumber(ARGV[4]),
  max_age_ms = tonumber(ARGV[5]) }
local ITEM, FIRST = 5, 6

-- checks and writes, job by job
local codes, leaving = {}, {}
for at = FIRST, #ARGV, ITEM do
  local id, claim, event, hold, sent_ago_ms = unpack(ARGV, at, at + ITEM - 1)
  local record = P .. 'job:' .. id
  local state, held_claim, holder = unpack(read(record, 'state', 'claim', 'worker'), 1, 3)
  local code = not state and 'gone' or 'stale'
  if held_claim == claim and holder == worker and (state == 'submitting' or state == 'unconfirmed') then
    code = 'unconfirmed'
    -- An earlier call that was cut off may have left it in both places.
    leaving[#leaving + 1] = id
  end
  if state == 'submitting' and code == 'unconfirmed' then
    to_unconfirmed(id, read_unconfirmed(record), now - sent_ago_ms, hold == '1', event, {}, now, rules)
  end
  codes[#codes + 1] = code
end
leave('leases', leaving)
return codes
