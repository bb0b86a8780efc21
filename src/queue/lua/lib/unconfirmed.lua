-- Jobs that may have to be sent again, and until when: what an unanswered POST leads to.

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
  return read(record, 'unconfirmed', 'history', 'recoveries', 'resend', 'held', 'pushed-url',
    'push-trust', unpack(DEADLINE))
end

-- A repeat waits so many graces: what was in vain twice most likely is so for longer.
local FIRST_GRACES, LATER_GRACES = 1, 10

-- Moves a job whose POST was sent and never answered to `unconfirmed`. It is due when the grace
-- after `sent_at` is over (ten, if it was not the first), and is then sent again. It is held instead,
-- due at its deadline, when `hold` says so or when it was sent again `rules.max_unconfirmed` times. The
-- record keeps `held`, since a deadline may move. A push that came before shows that the API has it: if
-- that was the API's own, the job is due now to end with it, else it is sent again one grace later.
-- `fields` are what `read_unconfirmed` gave; `changes`, names and values in turn, are written as well.
-- The caller takes the job out of its place.
local function to_unconfirmed(id, fields, sent_at, hold, event, changes, now, rules)
  local unconfirmed, history, recoveries, resend, held, pushed_url, push_trust, accepted_at, not_before,
    retried_at, expires_at = unpack(fields, 1, 11)
  local times = num(unconfirmed) + 1
  local graces = times == 1 and FIRST_GRACES or LATER_GRACES
  if pushed_url and pushed_url ~= '' then graces = graces + 1 end
  local holds = hold or times > rules.max_unconfirmed
  local due = int(sent_at + graces * rules.unconfirmed_grace_ms)
  if push_trust and push_trust ~= '' then
    due = int(now)
  elseif holds then
    due = int(submit_deadline(rules.max_age_ms, 0, accepted_at, not_before, retried_at, expires_at))
  end
  local record = P .. 'job:' .. id
  redis.call('ZADD', P .. 'unconfirmed', due, id)
  if recoveries or resend or held then
    redis.call('HDEL', record, 'recoveries', 'resend', 'held')
  end
  if holds then
    table.insert(changes, 'held')
    table.insert(changes, '1')
  end
  redis.call('HSET', record, 'state', 'unconfirmed', 'unconfirmed', int(times), 'next-at', due,
    'history', remember(history, accepted_at, now, event), unpack(changes))
end
