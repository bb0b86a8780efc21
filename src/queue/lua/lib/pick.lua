-- Which due jobs a stage's gate lets through, and when the next may be.

-- A probe is picked from so many due jobs, spread over all of them.
local SAMPLE = 100
-- So far on in a list is the next pick, round and round: however many there are, they lie evenly, so
-- that a few find any group that is not small.
local GOLDEN_RATIO = 0.618034
-- What counts the calls of a job that came to such a place.
local CALLS = { submit = 'posts', unconfirmed = 'posts', poll = 'polls' }

-- Some due members of a place, spread over all that are due; others in each call where there are more.
local function sample(place, now, how_many)
  local due, found = num(ask('ZCOUNT', P .. place, '-inf', now)), {}
  math.randomseed(now)
  local count, first = math.min(due, how_many), math.random()
  for n = 0, count - 1 do
    local rank = math.floor((first + n) * due / count)
    found[#found + 1] = unpack(ask('ZRANGE', P .. place, rank, rank) or {}, 1, 1)
  end
  return found
end

-- The due members of a place for as many calls as the gate allows. A probe looks at some more: those of
-- the pairs that are known to be refused come late, those of earlier calls come late among them, and the
-- job of the last probe comes last.
local function due_members(place, now, limit, gated)
  if gated.sticky and num(ask('ZSCORE', P .. place, gated.sticky)) > 0 then return { gated.sticky } end
  if not gated.picks then
    return ask('ZRANGE', P .. place, '-inf', now, 'BYSCORE', 'LIMIT', 0, limit) or {}
  end
  if not gated.pairs then return sample(place, now, limit) end
  local others, others_again, named, named_again, last = {}, {}, {}, {}, {}
  for _, id in ipairs(sample(place, now, SAMPLE)) do
    local use_case_id, customer_id, calls = unpack(read(P .. 'job:' .. id, 'use-case-id', 'customer-id',
      CALLS[place]), 1, 3)
    local is_named, is_again = gated.pairs[join_pair(use_case_id, customer_id)], num(calls) > 0
    local list = is_again and others_again or others
    if is_named then list = is_again and named_again or named end
    if id == gated.avoid then list = last end
    list[#list + 1] = id
  end
  local due, before = {}, gated.picks_before
  local part = before and (before + 1) * GOLDEN_RATIO % 1 or math.random()
  local lists = { others, others_again, named, named_again, last }
  for n = 1, gated.others and 2 or #lists do
    local list = lists[n]
    local first = math.floor(#list * part)
    for i = 0, #list - 1 do due[#due + 1] = list[(first + i) % #list + 1] end
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
