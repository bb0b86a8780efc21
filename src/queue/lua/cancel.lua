#!lua flags=allow-oom
-- Ends live jobs at an operator's word and publishes their results.
-- Transition: waiting -> cancelled (cancelled), submitting -> cancelled (cancelled)
-- Transition: unconfirmed -> cancelled (cancelled), polling -> cancelled (cancelled)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] failed_retention_ms
-- ARGV[3..] items of 1: id
-- Returns: two per item: cancelled and the revision, refused and why, gone and ''
-- Why: what still comes of a call in hand meets an ended job: an id or a URL is recorded.
local now = clock(ARGV[1])
local retention = { failed_ms = ARGV[2] }
local ITEM, FIRST = 1, 3
local NO_POST, POSTED = 'cancelled-by-operator: it was never sent',
  'cancelled-by-operator: it had been sent; the video may still be made and billed'

local function cancel(id, job)
  local record, state = P .. 'job:' .. id, job[1]
  local sent = read(record, 'posts', 'unconfirmed')
  -- writes
  -- A POST in hand is one whose answer may never be known.
  if state == 'submitting' then redis.call('HSET', record, 'unconfirmed', num(sent[2]) + 1) end
  local fault = num(sent[1]) > 0 and POSTED or NO_POST
  conclude(id, job, 'cancelled', { 'error', fault, 'source', 'operator' }, now, retention)
  if redis.call('ZREM', P .. PLACE[state], id) == 0 then redis.call('ZREM', P .. 'leases', id) end
end

-- checks
local reply = {}
for at = FIRST, #ARGV, ITEM do
  local id = ARGV[at]
  local job = read_whole(P .. 'job:' .. id)
  local code, detail = 'cancelled', job[5] or ''
  if not job[1] then
    code = 'gone'
  elseif PLACE[job[1]] then
    cancel(id, job)
  elseif job[1] ~= 'cancelled' then
    code, detail = 'refused', 'it has ended: ' .. job[1]
  end
  reply[#reply + 1] = code
  reply[#reply + 1] = detail
end
wind_up()
return reply
