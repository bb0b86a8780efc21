-- Which due jobs a stage's gate lets through, and when the next may be.

-- A probe is picked from so many due jobs, spread over all of them.
local SAMPLE = 100

-- Some due members of a place, spread over all that are due, in an order that differs from call to
-- call.
local function sample(place, now, how_many)
  local due, found = num(ask('ZCOUNT', P .. place, '-inf', now)), {}
  math.randomseed(now)
  local step, first = math.max(1, math.floor(due / how_many)), math.random(0, math.max(0, due - 1))
  for n = 0, math.min(due, how_many) - 1 do
    local rank = (first + n * step) % due
    found[#found + 1] = unpack(ask('ZRANGE', P .. place, rank, rank) or {}, 1, 1)
  end
  return found
end

-- The due members of a place for as many calls as the gate allows. A probe looks at some more: those of
-- the pairs that are known to be refused come late, and the job of the last probe comes last.
local function due_members(place, now, limit, gated)
  if gated.sticky and num(ask('ZSCORE', P .. place, gated.sticky)) > 0 then return { gated.sticky } end
  if not gated.picks then
    return ask('ZRANGE', P .. place, '-inf', now, 'BYSCORE', 'LIMIT', 0, limit) or {}
  end
  if not gated.pairs then return sample(place, now, limit) end
  local due, named, last = {}, {}, {}
  for _, id in ipairs(sample(place, now, SAMPLE)) do
    local list = due
    if id == gated.avoid then
      list = last
    elseif gated.pairs[pair_of(P .. 'job:' .. id)] then
      list = named
    end
    list[#list + 1] = id
  end
  if gated.others then return due end
  for _, list in ipairs({ named, last }) do
    for _, id in ipairs(list) do due[#due + 1] = id end
  end
  return due
end

-- Which transaction to check before a POST is tried: one of an accepted job, else one that nobody has;
-- nil while there is nothing to be sent, for then nobody wants to know.
local function transaction_to_check(gated)
  if not gated.asks or gated.take == 0 or head('submit') == '' and head('unconfirmed') == '' then
    return nil
  end
  local accepted = unpack(ask('ZRANGE', P .. 'poll', 0, 0) or {}, 1, 1)
  return accepted and unpack(read(P .. 'job:' .. accepted, 'whilter-request-id'), 1, 1) or 'reelq-check'
end

-- When the next call may begin, of a stage that takes jobs from these places; '' when they are empty.
local function next_due(gated, ...)
  local first = math.huge
  for _, place in ipairs({ ... }) do first = math.min(first, tonumber(head(place)) or math.huge) end
  if first == math.huge then return '' end
  -- A status check waits for no job to be due.
  return math.max(gated.asks and 0 or first, gated.again_at or 0)
end
