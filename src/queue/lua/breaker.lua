#!lua flags=allow-oom
-- Closes a stage for the whole fleet, or lets it go on, by what the API answered.
-- Transition: none
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] stage: submit or poll
-- ARGV[3] event: halted, broken or limited (closes it), failed (a probe's call), alive (opens it)
-- ARGV[4] reason, in words
-- ARGV[5] wait_ms: how long nothing is tried then, at the first time
-- ARGV[6] wait_max_ms: at most, when probe after probe fails
-- ARGV[7] id of the job whose call brought the event
-- ARGV[8] max_age_ms: submit.max_age, for which the end of a halt is remembered
-- Returns: 1 when this call changed the stage, else 0
-- Why: whoever comes first closes it; what others see meanwhile says nothing new. A halt says more
--   than a break, and a break more than a limit.
-- Why: a limit that asks for a much longer wait prolongs it; others of a burst say nothing new.
-- Why: an answer does not lift a limit: that ends by itself.
-- Why: how long a halt has lasted is noted as it lasts, since somebody may end it by a DEL.
local now = clock(ARGV[1])
local stage, event, reason, wait_ms, wait_max_ms, id, max_age_ms = ARGV[2], ARGV[3], ARGV[4],
  tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], ARGV[8]
local hash = P .. 'stage:' .. stage
local WEIGHT = { limited = 1, broken = 2, halted = 3 }
-- What a limit teaches: at first little is known, so it begins low and doubles each second; when
-- that was too much, somewhat less than that, and slowly more.
local FIRST_RATE, FIRST_GROWTH, LESS, GROWTH = 2, 2, 0.6, 1.1
local MUCH_LONGER_MS = 1000

-- checks
local state, next_probe, probed, probing, probes, learned, learned_growth =
  unpack(read(hash, 'state', 'next-probe', 'probed', 'probing', 'probes', 'rate', 'growth'), 1, 7)
next_probe, probes = num(next_probe), num(probes)
-- A word that somebody wrote by hand closes the stage as a break does (gate).
local weight = state and (WEIGHT[state] or WEIGHT.broken) or 0

-- writes
-- Jobs do not grow older by a halt of the submit stage, up to now.
local function halted_until_now()
  if stage == 'submit' then redis.call('SET', P .. 'halt-ended:submit', int(now), 'PX', max_age_ms) end
end

local function close()
  if event == 'halted' then halted_until_now() end
  redis.call('DEL', hash)
  redis.call('HSET', hash, 'state', event, 'reason', reason, 'since', int(now), 'next-probe',
    int(now + wait_ms), 'probes', '0')
  return 1
end

local function limit()
  if state and now < next_probe then
    if now + wait_ms < next_probe + MUCH_LONGER_MS then return 0 end
    redis.call('HSET', hash, 'reason', reason, 'next-probe', int(now + wait_ms))
    return 1
  end
  local rate, growth, since = FIRST_RATE, FIRST_GROWTH, {}
  if state then
    rate = math.max(1, learned_rate(learned, learned_growth, next_probe, now) * LESS)
    growth = GROWTH
  else
    -- What stands there without a state may be no hash.
    redis.call('DEL', hash)
    since = { 'state', 'limited', 'since', int(now) }
  end
  redis.call('HSET', hash, 'reason', reason, 'next-probe', int(now + wait_ms), 'rate',
    string.format('%.3f', rate), 'growth', tostring(growth), unpack(since))
  return 1
end

local function failed()
  if probed ~= id or probing ~= '1' then return 0 end
  if state == 'halted' then halted_until_now() end
  local wait = math.min(wait_max_ms, wait_ms * 2 ^ math.min(probes + 1, 30))
  redis.call('HSET', hash, 'reason', reason, 'next-probe', int(now + wait), 'probes', int(probes + 1),
    'probing', '0')
  return 1
end

local function open()
  if state == 'halted' then halted_until_now() end
  redis.call('DEL', hash)
  wake(stage)
  return 1
end

if event == 'failed' then return failed() end
if event == 'alive' then return weight > WEIGHT.limited and open() or 0 end
if weight > WEIGHT[event] then return 0 end
if event == 'limited' then return limit() end
return state == event and 0 or close()
