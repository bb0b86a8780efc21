#!lua flags=allow-oom
-- Closes a stage for the whole fleet, or lets it go on, by what the API answered.
-- Transition: none
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] stage: submit or poll
-- ARGV[3] event: halted, broken or limited (closes it), failed (a probe's call), answered (the status
--   check that was to come before a POST), alive (opens it), hurried (has it probed now)
-- ARGV[4] reason, in words
-- ARGV[5] wait_ms: how long nothing is tried then, at the first time
-- ARGV[6] wait_max_ms: at most, when probe after probe fails
-- ARGV[7] id of the job whose call brought the event; `check` for a status check that came first
-- ARGV[8] max_age_ms: submit.max_age, for which the end of a halt is remembered
-- ARGV[9] worker: whose call it was
-- ARGV[10] run_ms: how long ago the run of bad signs began
-- ARGV[11] good_ms: how long ago this worker last had a good answer in this stage; '' = never
-- ARGV[12] own: whether the fault may be this worker's own, which the good answers of others show:
--   '' = no, stage = those of this stage, any = those of both
-- ARGV[13] asks: 1 when the call may have bought something, so that a status check comes first
-- ARGV[14] stays: 1 when it surely bought nothing, so that the next probe may be of the same job
-- ARGV[15] pairs at fault: lines of '<use-case-id> <customer-id>'
-- Returns: 1 when this call changed the stage, 2 when the fault is this worker's own, else 0
-- Why: whoever comes first closes it; what others see meanwhile says nothing new. A halt says more
--   than a break, and a break more than a limit.
-- Why: a limit that asks for a much longer wait prolongs it; others of a burst say nothing new.
-- Why: an answer does not lift a limit, which ends by itself, unless one pair alone was limited.
-- Why: how long a halt has lasted is noted as it lasts, since somebody may end it by a DEL.
local now = clock(ARGV[1])
local stage, event, reason, wait_ms, wait_max_ms, id, max_age_ms = ARGV[2], ARGV[3], ARGV[4],
  tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], ARGV[8]
local worker, run_ms, good_ms, own, asks, stays, pairs_at_fault = ARGV[9], tonumber(ARGV[10]),
  tonumber(ARGV[11]), ARGV[12], ARGV[13], ARGV[14], ARGV[15]
local hash = P .. 'stage:' .. stage
local WEIGHT = { limited = 1, broken = 2, halted = 3 }
-- What a limit teaches: at first little is known, so it begins low and doubles each second; when
-- that was too much, somewhat less than that, and slowly more.
local FIRST_RATE, FIRST_GROWTH, LESS, GROWTH = 2, 2, 0.6, 1.1
local MUCH_LONGER_MS = 1000
-- A stage that breaks so soon after a good answer, or is halted so soon after the last halt, is probed
-- so often at first, so far apart: it may be a matter of some jobs.
local LATELY_MS, QUICK_PROBES, QUICK_MS = 10000, { halted = 10, broken = 5 }, 200
-- So many probes may be of one job, in a row.
local TRIES = 3

-- checks
local state, next_probe, probed, probing, probes, learned, learned_growth, tries, quick, limited,
  closed_wait, closed_wait_max = unpack(read(hash, 'state', 'next-probe', 'probed', 'probing', 'probes',
    'rate', 'growth', 'tries', 'quick', 'pairs', 'wait', 'wait-max'), 1, 12)
next_probe, probes, tries, quick = num(next_probe), num(probes), num(tries), num(quick)
-- A word that somebody wrote by hand closes the stage as a break does (gate).
local weight = state and (WEIGHT[state] or WEIGHT.broken) or 0

local halt_ended = own == 'stage' and num(ask('GET', P .. 'halt-ended:' .. stage)) or 0
local is_own = another_is_well(own, stage, worker, now - run_ms, now)

-- writes
-- Jobs do not grow older by a halt of the submit stage, up to now.
local function halted_until_now()
  if stage == 'submit' then redis.call('SET', P .. 'halt-ended:submit', int(now), 'PX', max_age_ms) end
end

local function close()
  if is_own then return 2 end
  if event == 'halted' then halted_until_now() end
  local well_at = event == 'halted' and halt_ended
    or math.max(last_good(stage), good_ms and now - good_ms or 0)
  local is_quick = asks ~= '1' and now < well_at + LATELY_MS
  redis.call('DEL', hash)
  local first_ms = (is_quick or asks == '1') and QUICK_MS or wait_ms
  redis.call('HSET', hash, 'state', event, 'reason', reason, 'since', int(now), 'next-probe',
    int(now + first_ms), 'probes', '0', 'closed-by', worker, 'probed', id, 'tries', '1', 'sticky', stays,
    'asks', asks, 'wait', int(wait_ms), 'wait-max', int(wait_max_ms))
  if is_quick then redis.call('HSET', hash, 'quick', int(QUICK_PROBES[event])) end
  if pairs_at_fault ~= '' then redis.call('HSET', hash, 'pairs', pairs_at_fault) end
  wake(stage)
  return 1
end

local function limit()
  if state and now < next_probe then
    -- Another pair has met it as well.
    if pairs_at_fault == '' then redis.call('HDEL', hash, 'pairs') end
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
  redis.call('HDEL', hash, 'pairs')
  redis.call('HSET', hash, 'reason', reason, 'next-probe', int(now + wait_ms), 'rate',
    string.format('%.3f', rate), 'growth', tostring(growth), unpack(since))
  if pairs_at_fault ~= '' then redis.call('HSET', hash, 'pairs', pairs_at_fault) end
  return 1
end

local function failed()
  if probed ~= id or probing ~= '1' then return 0 end
  if state == 'halted' then halted_until_now() end
  tries = tries + 1
  local again = stays == '1' and tries < TRIES
  local is_quick = quick > 0 and asks ~= '1'
  if not again and not is_quick then probes = probes + 1 end
  local wait = math.min(num(closed_wait_max or wait_max_ms),
    num(closed_wait or wait_ms) * 2 ^ math.min(probes, 30))
  if is_quick then
    wait = QUICK_MS
    redis.call('HSET', hash, 'quick', int(quick - 1))
  end
  redis.call('HSET', hash, 'reason', reason, 'next-probe', int(now + wait), 'probes', int(probes),
    'probing', '0', 'closed-by', worker, 'sticky', again and '1' or '0', 'tries',
    int(again and tries or 0), 'answered', '0')
  if id ~= 'check' then redis.call('HSET', hash, 'asks', asks) end
  wake(stage)
  return 1
end

-- A POST may follow, now.
local function answers()
  if weight ~= WEIGHT.broken or probed ~= id then return 0 end
  redis.call('HSET', hash, 'answered', '1', 'next-probe', int(now), 'probing', '0', 'closed-by', '')
  wake(stage)
  return 1
end

local function open()
  if state == 'halted' then halted_until_now() end
  redis.call('DEL', hash)
  wake(stage)
  -- An API that works for the one stage most likely works for the other.
  local other = stage == 'submit' and 'poll' or 'submit'
  if unpack(read(P .. 'stage:' .. other, 'state'), 1, 1) == 'broken' then
    redis.call('HSET', P .. 'stage:' .. other, 'next-probe', int(now), 'closed-by', '')
    wake(other)
  end
  return 1
end

local function hurried()
  redis.call('HSET', hash, 'next-probe', int(now), 'closed-by', '')
  wake(stage)
  return 1
end

if event == 'failed' then return failed() end
if event == 'hurried' then return weight > 0 and hurried() or 0 end
if event == 'answered' then return answers() end
if event == 'alive' then
  return (weight > WEIGHT.limited or state and limited) and open() or 0
end
if weight > WEIGHT[event] then return 0 end
if event == 'limited' then return limit() end
return state == event and (is_own and 2 or 0) or close()
