#!lua flags=allow-oom
-- Ends live jobs at an operator's word and publishes their results.
-- Transition: waiting -> cancelled (cancelled), submitting -> cancelled (cancelled)
-- Transition: unconfirmed -> cancelled (cancelled), polling -> cancelled (cancelled)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] completed_retention_ms
-- ARGV[3] failed_retention_ms
-- ARGV[4] event for the history
-- ARGV[5..] items of 1: id
-- Returns: two per item: cancelled and the revision, refused and why, gone and ''
-- Why: what still comes of a call in hand meets an ended job: an id or a URL is recorded.
-- Why: the job is made due in `poll` first, so that what a script leaves undone is found soon; in
--   its own place, it might be sent before its time.
local now, retention = clock(ARGV[1]), { completed_ms = ARGV[2], failed_ms = ARGV[3] }
local EVENT = ARGV[4]
local ITEM, FIRST = 1, 5
local NO_POST, POSTED = 'cancelled-by-operator: it was never sent',
  'cancelled-by-operator: it had been sent; the video may still be made and billed'

-- checks and writes, job by job
local gone = {}
local function cancel(id, whole, state)
  local record = P .. 'job:' .. id
  local posts, unconfirmed = unpack(read(record, 'posts', 'unconfirmed'), 1, 2)
  local history, accepted_at = unpack(whole, 2, 3)
  redis.call('ZADD', P .. 'poll', int(now), id)
  -- A POST in hand is one whose answer may never be known.
  local noted = state == 'submitting' and { 'unconfirmed', int(num(unconfirmed) + 1) } or {}
  noted[#noted + 1], noted[#noted + 2] = 'history', remember(history, accepted_at, now, EVENT)
  local fault = num(posts) > 0 and POSTED or NO_POST
  conclude(id, record, whole, 'cancelled', { 'error', fault, 'source', 'operator' }, now, noted)
end

local reply = {}
for at = FIRST, #ARGV, ITEM do
  local id = ARGV[at]
  local whole = read_whole(P .. 'job:' .. id)
  local state, revision = unpack(whole, 1, 1), whole[REVISION]
  local code, detail = 'cancelled', revision or ''
  if not state then
    code = 'gone'
  elseif PLACE[state] then
    cancel(id, whole, state)
    gone[#gone + 1] = id
  elseif heal(id) then
    if not checked_again(state, P .. 'job:' .. id) then gone[#gone + 1] = id end
    if state ~= 'cancelled' then code, detail = 'refused', 'it has ended: ' .. state end
  else
    code, detail = 'refused', 'its record is damaged'
  end
  reply[#reply + 1] = code
  reply[#reply + 1] = detail
end
wind_up(retention)
for _, place in ipairs({ 'submit', 'unconfirmed', 'leases', 'poll' }) do leave(place, gone) end
return reply
