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
local PLACE = { submitting = 'leases', unconfirmed = 'unconfirmed', waiting = 'submit' }

local function also_accepted(record, known, whilter_id)
  for id in (known or ''):gmatch('%S+') do
    if id == whilter_id then return end
  end
  redis.call('HSET', record, 'also-accepted', known and known .. ' ' .. whilter_id or whilter_id)
end

local codes, due, leaving, submitted = {}, {}, {}, 0
for at = FIRST, #ARGV, ITEM do
  local id, whilter_id, next_at = ARGV[at], ARGV[at + 1], int(now + ARGV[at + 2])
  local record = P .. 'job:' .. id
  -- checks
  local job = read(record, 'state', 'whilter-request-id', 'accepted-at', 'history',
    'also-accepted', 'recoveries')
  local place = PLACE[job[1]]
  local code = not job[1] and 'gone' or place and 'polling' or job[1] ~= 'polling' and 'late'
    or job[2] == whilter_id and 'polling' or 'also'
  -- writes
  if place then
    redis.call('HSET', record, 'state', 'polling', 'whilter-request-id', whilter_id,
      'submitted-at', int(now), 'next-at', next_at, 'history', remember(job[4], job[3], now, 'submitted'))
    forgive(record, job[6])
    due[#due + 1] = next_at
    due[#due + 1] = id
    leaving[place] = leaving[place] or {}
    table.insert(leaving[place], id)
    submitted = submitted + 1
  elseif code == 'also' or code == 'late' and job[2] and job[2] ~= whilter_id then
    also_accepted(record, job[5], whilter_id)
  elseif code == 'late' then
    redis.call('HSET', record, 'whilter-request-id', whilter_id)
  end
  codes[#codes + 1] = code
end
if submitted > 0 then
  redis.call('HINCRBY', P .. 'counters', 'submitted', submitted)
  redis.call('ZADD', P .. 'poll', unpack(due))
end
for place, ids in pairs(leaving) do redis.call('ZREM', P .. place, unpack(ids)) end
return codes
