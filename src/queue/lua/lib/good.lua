-- Good answers of the API, as the beats of workers tell of them.

-- Beats tell of one so late, and so long it says that its worker is well.
local WELL_MS = 3000

-- When anybody last had a good answer in a stage, or anybody but one; 0 = never.
local function last_good(stage, but)
  local found = ask('ZRANGE', P .. 'good:' .. stage, 0, 1, 'REV', 'WITHSCORES') or {}
  local who, latest, _, next_latest = unpack(found, 1, 4)
  return num(who ~= but and latest or next_latest)
end

-- Whether another worker is well that could be asked: had a good answer since then, or lately; `own`
-- says in which stage: '' = it does not matter, stage = in this one, any = in either.
local function another_is_well(own, stage, worker, since, now)
  if own == '' then return false end
  local latest = last_good(stage, worker)
  if own == 'any' then latest = math.max(last_good('submit', worker), last_good('poll', worker)) end
  return latest > math.min(since, now - WELL_MS)
end
