#!lua flags=allow-oom
-- One beat of a worker, and what its loops want to know, in one call a second.
-- Transition: none
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] worker
-- ARGV[3] silent_ms: after which silence a worker counts as dead
-- ARGV[4] lease_ms: how long a job may be held
-- ARGV[5] backoff_max_ms: the longest wait before a submit and before a probe of that stage
-- ARGV[6] unconfirmed_grace_ms: submit.unconfirmed_grace
-- ARGV[7] poll_max_ms: the longest wait before a check and before a probe of that stage
-- ARGV[8] max_age_ms: submit.max_age
-- ARGV[9], ARGV[10] good_ms: how long ago this worker had a good answer to a submit, and to a check;
--   '' = never
-- ARGV[11] ill: in words what is wrong with this worker alone ('' = nothing)
-- Returns: now, paused (1 or 0), next due of submit, of unconfirmed and of poll ('' = none); state,
--   reason ('' = open) and when it is tried again of the stages submit and poll; 1 when the clock
--   had gone back, 2 while there is more to be pulled in for it; how long ago any worker had a good
--   answer to a check, and how long ago another had one at all, in ms ('' = never); then the names of
--   at most 10 silent workers
-- Why: a pause does not age jobs, also when somebody ends it by a DEL.
-- Why: the server's clock may go back, by a failover for one. What was stored by the earlier clock
--   would then stand still for the difference, so it is pulled in to what it may be at most from
--   now, a batch a call. P`clock keeps the latest time that a beat saw until that is done, and how
--   many scheduled submits were looked at and left.
local now, worker, silent_ms, lease_ms = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local backoff_max_ms, unconfirmed_grace_ms, poll_max_ms = tonumber(ARGV[5]), tonumber(ARGV[6]),
  tonumber(ARGV[7])
-- Clocks are adjusted by less than this all the time.
local BACK_MS, BATCH = 2000, 100
local max_age_ms, ill = ARGV[8], ARGV[11]
local good_ms = { submit = tonumber(ARGV[9]), poll = tonumber(ARGV[10]) }
local STAGES = { 'submit', 'poll' }
local LONGEST_WAIT_MS = { submit = backoff_max_ms, poll = poll_max_ms }
-- As long an unanswered POST waits for its last repeat (lib/unconfirmed.lua).
local MOST_GRACES = 11

-- checks
local latest, skip = (ask('GET', P .. 'clock') or ''):match('^(%d+) (%d+)$')
latest, skip = num(latest), num(skip)
local silent = ask('ZRANGE', P .. 'workers', '-inf', now - silent_ms, 'BYSCORE', 'LIMIT', 0, 10) or {}

-- writes
-- Pulls in some members of a sorted set that lie later than `at_most_ms` from now, but no submit
-- before its time; says whether there may be more.
local function pull_in(place, at_most_ms)
  local late = ask('ZRANGE', P .. place, '(' .. int(now + at_most_ms), '+inf', 'BYSCORE', 'LIMIT',
    place == 'submit' and skip or 0, BATCH) or {}
  local moved = {}
  for _, id in ipairs(late) do
    local not_before = place == 'submit' and unpack(read(P .. 'job:' .. id, 'not-before'), 1, 1)
    if num(not_before) > now + at_most_ms then
      skip = skip + 1
    else
      moved[#moved + 1], moved[#moved + 2] = int(now + at_most_ms), id
    end
  end
  if #moved > 0 then redis.call('ZADD', P .. place, unpack(moved)) end
  return #late == BATCH
end

-- One call's work after the clock went back; says whether more is left.
local function pull_all_in()
  for _, stage in ipairs(STAGES) do
    local next_probe = unpack(read(P .. 'stage:' .. stage, 'next-probe'), 1, 1)
    local soonest = now + LONGEST_WAIT_MS[stage]
    if num(next_probe) > soonest then
      redis.call('HSET', P .. 'stage:' .. stage, 'next-probe', int(soonest))
    end
    redis.call('DEL', P .. 'rate:' .. stage)
  end
  redis.call('DEL', P .. 'token-turn', P .. 'rate:push')
  local more = false
  for place, at_most_ms in pairs({ submit = backoff_max_ms,
    unconfirmed = MOST_GRACES * unconfirmed_grace_ms,
    poll = poll_max_ms, leases = lease_ms, workers = 0 }) do
    more = pull_in(place, at_most_ms) or more
  end
  return more
end

local went_back = latest - now > BACK_MS
local unfinished = went_back and pull_all_in()
if unfinished then
  redis.call('SET', P .. 'clock', int(latest) .. ' ' .. int(skip))
elseif went_back or now > latest then
  redis.call('SET', P .. 'clock', int(now) .. ' 0')
end
redis.call('ZADD', P .. 'workers', int(now), worker)
if ill ~= '' then
  ask('HSET', P .. 'ill', worker, ill)
else
  ask('HDEL', P .. 'ill', worker)
end
local paused = redis.call('EXISTS', P .. 'paused')
if paused == 1 then redis.call('SET', P .. 'halt-ended:submit', int(now), 'PX', max_age_ms) end
local reply = { now, paused, head('submit'), head('unconfirmed'), head('poll') }
for _, stage in ipairs(STAGES) do
  if good_ms[stage] then ask('ZADD', P .. 'good:' .. stage, int(now - good_ms[stage]), worker) end
  local state, reason, next_probe, learned, growth =
    unpack(read(P .. 'stage:' .. stage, 'state', 'reason', 'next-probe', 'rate', 'growth'), 1, 5)
  -- A limit is over also when nobody calls any more.
  if state == 'limited'
    and learned_rate(learned, growth, num(next_probe), now) >= RATE_FORGOTTEN then
    redis.call('DEL', P .. 'stage:' .. stage)
    state, reason, next_probe = nil, nil, nil
  end
  reply[#reply + 1] = state or ''
  reply[#reply + 1] = reason or ''
  reply[#reply + 1] = num(next_probe)
end
reply[#reply + 1] = (went_back and 1 or 0) + (unfinished and 1 or 0)
local checked_at = last_good('poll')
local others_at = math.max(last_good('submit', worker), last_good('poll', worker))
for _, at in ipairs({ checked_at, others_at }) do
  reply[#reply + 1] = at > 0 and int(math.max(0, now - at)) or ''
end
if checked_at > num(ask('GET', P .. 'checks-fail-since')) then
  redis.call('DEL', P .. 'checks-fail-since')
end
for _, name in ipairs(silent) do
  -- What no worker calls itself was written by hand.
  if name:find('[^!-~]') then
    redis.call('ZREM', P .. 'workers', name)
  elseif name ~= worker then
    reply[#reply + 1] = name
  end
end
return reply
