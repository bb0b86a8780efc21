-- How many calls a stage may begin now: closed stages are probed by one call at a time, and rates
-- are kept by the generic cell rate algorithm (GCRA), whose terms are used here: calls are spaced by
-- the emission interval, the theoretical arrival time (TAT) says when the next one would come, and
-- as many as the burst tolerance lets through may come early.

-- A learned rate that has grown to so many calls a second, or to the rate that is set, limits
-- nobody any more.
local RATE_FORGOTTEN = 1000
-- The calls of a hundredth of a second may begin at once.
local BURST_SECONDS = 0.01
-- Within this time the others have the first try of a stage that a worker has closed, or whose probe
-- was its own: the fault may be that worker's.
local OTHERS_FIRST_MS = 2000
-- Jobs of other pairs than those that are limited begin so far apart.
local OTHER_PAIRS_MS = 200

-- Calls a second that a limited stage may begin: what was learned, grown since it was reopened.
local function learned_rate(rate, growth, reopened_at, now)
  return (tonumber(rate) or 1) * math.min(tonumber(growth) or 1, 2) ^ ((now - reopened_at) / 1000)
end

-- The gate of a stage whose calls are limited to so many a second. Changes nothing.
local function gcra(stage, calls_a_second, now, limit)
  local emission_interval = 1000 / calls_a_second
  local burst = math.max(1, calls_a_second * BURST_SECONDS)
  local tolerance = (burst - 1) * emission_interval
  local tat = math.max(tonumber(ask('GET', P .. 'rate:' .. stage)) or 0, now)
  local free = math.floor((now - tat) / emission_interval + burst)
  return { take = math.max(0, math.min(limit, free)), emission_interval = emission_interval, tat = tat,
    tolerance = tolerance, again_at = math.ceil(tat - tolerance) }
end

-- The pairs that a stage's hash names, as the keys of a table.
local function named_pairs(text)
  local named = {}
  for pair in (text or ''):gmatch('[^\n]+') do named[pair] = true end
  return named
end

-- The gate of a stage that is halted or broken.
local function probing(stage, state, now, limit, worker)
  local next_probe, closed_by, probed, sticky, pairs_text, asks, answered, picked = unpack(read(P
    .. 'stage:' .. stage, 'next-probe', 'closed-by', 'probed', 'sticky', 'pairs', 'asks', 'answered',
    'picked'), 1, 8)
  local from = num(next_probe)
  if closed_by == worker and now < from + OTHERS_FIRST_MS
    and num(ask('ZCOUNT', P .. 'workers', '(' .. int(now - OTHERS_FIRST_MS), '+inf')) > 1 then
    from = from + OTHERS_FIRST_MS
  end
  local must_ask = asks == '1' and answered ~= '1'
  if now < from then return { state = state, take = 0, asks = must_ask, again_at = from } end
  return { state = state, take = math.min(limit, 1), picks = true, probe = true, avoid = probed or '',
    picks_before = num(picked), sticky = sticky == '1' and probed, pairs = named_pairs(pairs_text),
    asks = must_ask }
end

-- How many calls a stage may begin now, at most `limit`, and at `rate` a second ('' = any).
-- Returns a table: `state` of its hash P`stage:<stage>`, if there is one; `take`; `probe`, whether
-- it is one call to find out how the API is, rather by another job than `avoid` and of another pair than
-- `pairs`, or by the job `sticky`, or if it `asks`, by a status check; `picks`, whether jobs are picked
-- from all that are due, and `picks_before`, how often that was done; `again_at`, when to ask again if
-- nothing may be taken; what `gcra` knows while a rate counts; `forget`, whether a limit is over.
-- Changes nothing.
local function gate(stage, now, limit, rate, worker)
  local state, next_probe, learned, growth, limited_pairs, next_other = unpack(read(P .. 'stage:'
    .. stage, 'state', 'next-probe', 'rate', 'growth', 'pairs', 'next-other'), 1, 6)
  if state and state ~= 'limited' then return probing(stage, state, now, limit, worker) end
  next_probe = num(next_probe)
  if state and now < next_probe then
    local again_at = limited_pairs and math.min(math.max(now, num(next_other)), next_probe) or next_probe
    if again_at > now then return { state = state, take = 0, again_at = again_at } end
    return { state = state, take = math.min(limit, 1), picks = true, others = true,
      pairs = named_pairs(limited_pairs), again_at = now + OTHER_PAIRS_MS }
  end
  local set = tonumber(rate) or math.huge
  local learned_now = state and learned_rate(learned, growth, next_probe, now) or math.huge
  local forget = state and learned_now >= math.min(set, RATE_FORGOTTEN)
  if rate == '' and (forget or not state) then
    return { state = state, take = limit, forget = forget }
  end
  local limited = gcra(stage, math.min(set, learned_now), now, limit)
  limited.state, limited.forget = state, forget
  return limited
end

-- Notes that a stage begins calls for the jobs that were taken. A probe is not repeated by others
-- before `patience_ms` is over: its caller may have died.
local function pass(stage, gated, taken, now, patience_ms)
  local hash = P .. 'stage:' .. stage
  if gated.forget then redis.call('DEL', hash) end
  if gated.probe then
    redis.call('HSET', hash, 'next-probe', int(now + patience_ms), 'probed', taken[#taken], 'probing',
      '1', 'picked', int(gated.picks_before + 1))
  elseif gated.others then
    redis.call('HSET', hash, 'next-other', int(now + OTHER_PAIRS_MS))
  elseif gated.emission_interval then
    local tat = gated.tat + #taken * gated.emission_interval
    gated.again_at = math.ceil(tat - gated.tolerance)
    redis.call('SET', P .. 'rate:' .. stage, string.format('%.3f', tat), 'PX', int(tat - now + 1000))
  end
end

-- Whether what a claim took is to find out how a closed stage is; `again`: by an earlier call.
local function is_probe(stage, gated, taken, again)
  if not again then return (gated.probe or gated.others) and #taken > 0 end
  local probed, probing = unpack(read(P .. 'stage:' .. stage, 'probed', 'probing'), 1, 2)
  local id = unpack(taken, 1, 1)
  return id and probed == id and probing == '1'
end
