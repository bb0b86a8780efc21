#!lua flags=allow-oom
-- Records that the API accepted a job: from now on its video is followed.
-- Transition: submitting -> polling (accepted), unconfirmed -> polling (accepted)
-- Transition: waiting -> polling (accepted)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2..] items of 3: id, whilter-request-id, delay_ms until the first status check
-- Returns: a code per item: polling, also (accepted before under another id), late (the job had
--   ended; the id is recorded), gone (no such record)
-- Why: an accepted id is true whoever brings it, so no claim is asked for.
local now = clock(ARGV[1])
local ITEM, FIRST = 3, 2

-- Records the id for a job that had one before, or has ended; says which.
local function another(record, state, whilter_id)
  local job = read(record, 'whilter-request-id', 'also-accepted')
  local known = (' ' .. (job[1] or '') .. ' ' .. (job[2] or '') .. ' ')
    :find(' ' .. whilter_id .. ' ', 1, true)
  if not job[1] then
    redis.call('HSET', record, 'whilter-request-id', whilter_id)
  elseif not known then
    redis.call('HSET', record, 'also-accepted', job[2] and job[2] .. ' ' .. whilter_id or whilter_id)
  end
  return state ~= 'polling' and 'late' or job[1] == whilter_id and 'polling' or 'also'
end

local codes, due, leaving, submitted = {}, {}, {}, 0
for at = FIRST, #ARGV, ITEM do
  local id, whilter_id, next_at = ARGV[at], ARGV[at + 1], int(now + ARGV[at + 2])
  local record = P .. 'job:' .. id
  -- checks
  local job = read(record, 'state', 'history', 'accepted-at', 'recoveries')
  local place, code = job[1] ~= 'polling' and PLACE[job[1]], 'polling'
  -- writes
  if place then
    redis.call('HSET', record, 'state', 'polling', 'whilter-request-id', whilter_id,
      'submitted-at', int(now), 'next-at', next_at, 'history', remember(job[2], job[3], now, 'submitted'))
    forgive(record, job[4])
    if place == 'unconfirmed' then redis.call('HDEL', record, 'resend', 'held') end
    due[#due + 1] = next_at
    due[#due + 1] = id
    leaving[place] = leaving[place] or {}
    table.insert(leaving[place], id)
    submitted = submitted + 1
  else
    code = job[1] and another(record, job[1], whilter_id) or 'gone'
  end
  codes[#codes + 1] = code
end
if submitted > 0 then
  redis.call('HINCRBY', P .. 'counters', 'submitted', submitted)
  redis.call('ZADD', P .. 'poll', unpack(due))
end
for place, ids in pairs(leaving) do redis.call('ZREM', P .. place, unpack(ids)) end
return codes
