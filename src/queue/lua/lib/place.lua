-- The places of live jobs: which one is right, what is in it, and how a job gets there and into a
-- worker's hands.

-- Where a live job is; one that is polled may be in `leases` instead.
local PLACE = {
  waiting = 'submit', submitting = 'leases', unconfirmed = 'unconfirmed', polling = 'poll',
}

-- Whether a worker holds the job: under an old claim's number it may wait again.
local function in_hand(id)
  return ask('ZSCORE', P .. 'leases', id)
end

-- The due time at the head of a place, or '' when it is empty. A score that somebody wrote by
-- hand may be no whole number.
local function head(place)
  local _, due = unpack(ask('ZRANGE', P .. place, 0, 0, 'WITHSCORES') or {}, 1, 2)
  return due and int(math.max(0, math.min(tonumber(due), 1e15))) or ''
end

-- Takes jobs out of a place. What else they are in stays.
local function leave(place, ids)
  if #ids > 0 then redis.call('ZREM', P .. place, unpack(ids)) end
end

-- Puts a job that was found in a place of others into its own, unless it is there, and says
-- whether it lives. One that is being submitted gets a whole lease, since its POST may be in hand.
local function put_right(id, now, lease_ms)
  local state, next_at = unpack(read(P .. 'job:' .. id, 'state', 'next-at'), 1, 2)
  local place = PLACE[state]
  if not place then return false end
  if state == 'submitting' then
    redis.call('ZADD', P .. 'leases', 'NX', int(now + lease_ms), id)
  elseif state ~= 'polling' or not in_hand(id) then
    redis.call('ZADD', P .. place, 'NX', int(num(next_at)), id)
  end
  return true
end

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

-- The fields by which it is judged when a job that is not yet accepted by the API ends by time.
local DEADLINE = { 'accepted-at', 'not-before', 'retried-at', 'expires-at' }

-- That time in Unix ms, from the fields of DEADLINE. Age counts from the end of the last halt at
-- the earliest.
local function submit_deadline(max_age_ms, halt_ended, accepted_at, not_before, retried_at, expires_at)
  local from = math.max(num(accepted_at), not_before and num(not_before) or 0,
    retried_at and num(retried_at) or 0, halt_ended)
  return expires_at and math.min(from + max_age_ms, tonumber(expires_at) or math.huge)
    or from + max_age_ms
end

-- What a job that may be POSTed again is judged by.
local function read_unconfirmed(record)
  return read(record, 'unconfirmed', 'history', 'recoveries', 'resend', 'held', unpack(DEADLINE))
end

-- Moves a job whose POST was sent and never answered to `unconfirmed`. It is sent again when the
-- grace after `sent_at` is over, or held until its deadline when it is to be held (which its
-- record keeps, since a deadline may move) or was sent again `rules.max_resends` times. `fields`
-- are those of `read_unconfirmed`; `changes` are written as well. The caller takes it out of its
-- place.
local function to_unconfirmed(id, fields, sent_at, hold, event, changes, now, rules)
  local unconfirmed, history, recoveries, resend, held, accepted_at, not_before, retried_at, expires_at =
    unpack(fields, 1, 9)
  local times = num(unconfirmed) + 1
  local due = int(sent_at + rules.grace_ms)
  if hold or times > rules.max_resends then
    due = int(submit_deadline(rules.max_age_ms, 0, accepted_at, not_before, retried_at, expires_at))
  end
  local record = P .. 'job:' .. id
  redis.call('ZADD', P .. 'unconfirmed', due, id)
  if recoveries or resend or held then
    redis.call('HDEL', record, 'recoveries', 'resend', 'held')
  end
  if hold then
    table.insert(changes, 'held')
    table.insert(changes, '1')
  end
  redis.call('HSET', record, 'state', 'unconfirmed', 'unconfirmed', int(times), 'next-at', due,
    'history', remember(history, accepted_at, now, event), unpack(changes))
end
