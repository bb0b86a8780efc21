-- The places of live jobs: which one is right, what is in it, and how a job gets there.

-- Where a live job is; one that is polled may be in `leases` instead.
local PLACE = {
  waiting = 'submit', submitting = 'leases', unconfirmed = 'unconfirmed', polling = 'poll',
}

-- Whether a worker holds the job: under an old claim's number it may wait again.
local function in_hand(id)
  return ask('ZSCORE', P .. 'leases', id)
end

-- Whether a job that had expired is checked once more, because of a push (push.lua): it then stands
-- in `poll` or `leases` as if it lived, and has a `next-at`.
local function checked_again(state, record)
  if state ~= 'expired' then return false end
  local next_at, pushed_at = unpack(read(record, 'next-at', 'pushed-at'), 1, 2)
  return next_at and pushed_at and true or false
end

-- The due time at the head of a place, or '' when it is empty. A score that somebody wrote by
-- hand may be no whole number.
local function head(place)
  local _, due = unpack(ask('ZRANGE', P .. place, 0, 0, 'WITHSCORES') or {}, 1, 2)
  return due and int(math.max(0, math.min(tonumber(due), 1e15))) or ''
end

-- Takes jobs out of a place; says how many were there. What else they are in stays.
local function leave(place, ids)
  return #ids > 0 and redis.call('ZREM', P .. place, unpack(ids)) or 0
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
