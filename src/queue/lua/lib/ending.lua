-- How a job ends. First its record gets the state, then the result stream its entry, then the
-- record that entry's id as `result`; then what goes with the end (the list of the dead, the body,
-- the expiry), and last the place where it was. A script that is cut off anywhere between leaves
-- an ended job in a place; whoever meets it there, or is asked about it, ends it wholly by `heal`.

-- What the ends of one call have in common is written once for all of them, by `wind_up`.
local ended = { counts = {}, dead = {}, bodies = {}, kept = {}, completed = {} }

-- What an ended job needs no more; `before` is the state before its end. One that had ended before
-- may still be on the list of the dead, with the error of that end.
local function retire(id, record, before, status, ended_at, revision)
  redis.call('HDEL', record, 'worker', 'next-at', 'recoveries', 'streak')
  if before ~= 'polling' then redis.call('HDEL', record, 'resend', 'held') end
  local is_dead = status == 'failed' or status == 'expired'
  if revision ~= '1' and not is_dead then redis.call('ZREM', P .. 'dead', id) end
  if revision ~= '1' and status == 'completed' then redis.call('HDEL', record, 'error') end
  local bodies, completed, kept, dead = ended.bodies, ended.completed, ended.kept, ended.dead
  if status == 'completed' then
    bodies[#bodies + 1], completed[#completed + 1] = P .. 'body:' .. id, record
  else
    kept[#kept + 1], kept[#kept + 2] = P .. 'body:' .. id, record
  end
  dead[id] = is_dead and ended_at or nil
end

-- The one place where a job ends. `record` is its key; `whole` is what `read_whole` gave; `changes`
-- are what the end adds to record and result, names and values in turn; `noted`, if given, what it
-- adds to the record alone. The caller takes the job out of its place after `wind_up`.
local function conclude(id, record, whole, status, changes, now, noted)
  local state, history, accepted_at = unpack(whole, 1, 3)
  local ended_at, history = int(now), remember(history, accepted_at, now, status)
  local written = changes
  if noted then
    written = { unpack(changes) }
    for _, word in ipairs(noted) do table.insert(written, word) end
  end
  redis.call('HSET', record, 'state', status, 'ended-at', ended_at, 'history', history, unpack(written))
  publish(id, record, status, ended_at, changes, whole)
  retire(id, record, state, status, ended_at, whole[REVISION])
  ended.counts[status] = (ended.counts[status] or 0) + 1
end

-- A URL for a job that had ended by time: it ends again, as its next revision. It is in no place, so
-- it is made due in `poll` first.
local function end_again(id, record, whole, changes, now)
  local revision = int(num(whole[REVISION]) + 1)
  whole[REVISION] = revision
  heal_result(id)
  redis.call('ZADD', P .. 'poll', int(now), id)
  redis.call('PERSIST', record)
  conclude(id, record, whole, 'completed', changes, now, { 'revision', revision, 'result', '' })
end

-- How many jobs this call has ended in that way.
local function ended_as(status)
  return ended.counts[status] or 0
end

-- Writes what goes with the ends of this call: the expiry last, by which `heal` knows them done.
local function wind_up(retention)
  local dead = {}
  for id, ended_at in pairs(ended.dead) do dead[#dead + 1], dead[#dead + 2] = ended_at, id end
  if #dead > 0 then redis.call('ZADD', P .. 'dead', unpack(dead)) end
  if #ended.bodies > 0 then redis.call('DEL', unpack(ended.bodies)) end
  local kept_ms, completed_ms = retention.failed_ms, retention.completed_ms
  for _, key in ipairs(ended.kept) do redis.call('PEXPIRE', key, kept_ms) end
  for _, record in ipairs(ended.completed) do redis.call('PEXPIRE', record, completed_ms) end
  for status, how_many in pairs(ended.counts) do count(status, how_many) end
end

-- Does what the script that ended a job had left undone, if anything; says whether it has ended.
-- The caller takes it out of its place after `wind_up`.
local function heal(id)
  local record = P .. 'job:' .. id
  local status, ended_at, revision = heal_result(id)
  if not status then return false end
  if redis.call('PTTL', record) == -1 then retire(id, record, status, status, ended_at, revision) end
  return true
end

-- What has no record, or has ended, is taken out of its place by the caller: this does what is
-- left to be done for it. Nothing can use a body without its record any more.
local function take_out(id)
  if not heal(id) and redis.call('EXISTS', P .. 'job:' .. id) == 0 then
    redis.call('DEL', P .. 'body:' .. id)
  end
end
