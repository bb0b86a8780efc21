-- How many calls a stage may begin now: closed stages are probed by one call at a time, and rates
-- are kept by the generic cell rate algorithm (GCRA), whose terms are used here: calls are spaced by
-- the emission interval, the theoretical arrival time (TAT) says when the next one would come, and
-- as many as the burst tolerance lets through may come early.

-- A learned rate that has grown to so many calls a second, or to the rate that is set, limits
-- nobody any more.
local RATE_FORGOTTEN = 1000
-- The calls of a hundredth of a second may begin at once.
local BURST_SECONDS = 0.01
-- A probe is picked from so many due jobs.
local PROBE_CHOICE = 10

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

-- How many calls a stage may begin now, at most `limit`, and at `rate` a second ('' = any).
-- Returns a table: `state` of its hash P`stage:<stage>`, if there is one; `take`; `probe`, whether
-- it is one call to find out how the API is, by another job than `avoid`; `again_at`, when to ask
-- again if nothing may be taken; what `gcra` knows while a rate counts; `forget`, whether a limit
-- is over. Changes nothing.
local function gate(stage, now, limit, rate)
  local state, next_probe, probed, learned, growth =
    unpack(read(P .. 'stage:' .. stage, 'state', 'next-probe', 'probed', 'rate', 'growth'), 1, 5)
  next_probe = num(next_probe)
  if state and now < next_probe then return { state = state, take = 0, again_at = next_probe } end
  if state and state ~= 'limited' then
    return { state = state, take = math.min(limit, 1), probe = true, avoid = probed or '' }
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

-- The due members of a place for as many calls as the gate allows. A probe looks at some more, the
-- job of the last one comes last.
local function due_members(place, now, limit, gated)
  local found = ask('ZRANGE', P .. place, '-inf', now, 'BYSCORE', 'LIMIT', 0,
    gated.probe and PROBE_CHOICE or limit) or {}
  if not gated.probe then return found end
  local due = {}
  for _, id in ipairs(found) do
    if id ~= gated.avoid then due[#due + 1] = id end
  end
  if #due < #found then due[#due + 1] = gated.avoid end
  return due
end

-- Notes that a stage begins calls for the jobs that were taken. A probe is not repeated by others
-- before `patience_ms` is over: its caller may have died.
local function pass(stage, gated, taken, now, patience_ms)
  if gated.forget then redis.call('DEL', P .. 'stage:' .. stage) end
  if gated.probe then
    redis.call('HSET', P .. 'stage:' .. stage, 'next-probe', int(now + patience_ms), 'probed',
      taken[#taken], 'probing', '1')
  elseif gated.emission_interval then
    local tat = gated.tat + #taken * gated.emission_interval
    gated.again_at = math.ceil(tat - gated.tolerance)
    redis.call('SET', P .. 'rate:' .. stage, string.format('%.3f', tat), 'PX', int(tat - now + 1000))
  end
end

-- Whether what a claim took is a probe of a closed stage; `again`: by an earlier call.
local function is_probe(stage, gated, taken, again)
  if not again then return gated.probe and #taken > 0 end
  local probed, probing = unpack(read(P .. 'stage:' .. stage, 'probed', 'probing'), 1, 2)
  local id = unpack(taken, 1, 1)
  return id and probed == id and probing == '1'
end
