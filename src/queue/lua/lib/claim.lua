-- How jobs get into a worker's hands, so that it learns of them also when a reply is lost.

-- The jobs that a worker's claim of this number took, when the call comes again because its
-- reply was lost; none when a later claim has overtaken it; nil when it is new.
local function taken_before(claimed, number)
  local last = ask('GET', claimed) or '0'
  local last_number = tonumber(last:match('^%d+')) or 0
  if number > last_number then return nil end
  local ids = {}
  if number == last_number then
    for id in last:gmatch(' (%S+)') do ids[#ids + 1] = id end
  end
  return ids
end

-- Puts jobs into a worker's hands, and keeps for a repetition what its claim of this number has
-- taken: these, and those before.
local function lease(claimed, number, ids, now, lease_ms, before)
  local until_ms, leased, taken = int(now + lease_ms), {}, before or {}
  for i, id in ipairs(ids) do
    leased[2 * i - 1], leased[2 * i], taken[#taken + 1] = until_ms, id, id
  end
  redis.call('ZADD', P .. 'leases', unpack(leased))
  redis.call('SET', claimed, int(number) .. ' ' .. table.concat(taken, ' '), 'PX', lease_ms)
end
