-- The result of an ended job: what it consists of, and how it is published.

local ENDS = { completed = true, failed = true, expired = true, cancelled = true }

-- What an end adds to record and result.
local ADDED = { 'error', 'video-url', 'image-url', 'source' }
-- What a result takes over from the record.
local CARRIED = {
  'accepted-at', 'revision', 'entry-id', 'user-id', 'customer-id', 'use-case-id',
  'whilter-request-id', 'posts', 'polls', 'submitted-at', 'traceparent', 'meta',
}
-- A record as far as its end needs it, as `read_whole` gives it: CARRIED begins with accepted-at
-- and revision.
local WHOLE = { 'state', 'history', unpack(CARRIED) }
local REVISION, BEFORE_CARRIED = 4, 2

local function read_whole(record)
  return read(record, unpack(WHOLE))
end

-- Publishes the end of a revision and notes in the record that this was done. `changes` are names
-- and values in turn; `whole` is what `read_whole` gave. All entries are put together in one table,
-- for it need not grow again.
local entry = {}
local function publish(id, record, status, ended_at, changes, whole)
  local last = #changes
  for i = 1, last do entry[i] = changes[i] end
  for i = 1, #CARRIED do
    local value = whole[BEFORE_CARRIED + i]
    if value and value ~= '' then
      entry[last + 1], entry[last + 2] = CARRIED[i], value
      last = last + 2
    end
  end
  local result = redis.call('XADD', P .. 'results', '*', 'client-request-id', id, 'status', status,
    'ended-at', ended_at, unpack(entry, 1, last))
  redis.call('HSET', record, 'result', result)
end

-- Publishes the result of an ended job unless that was done; says how it ended, when, and as which
-- revision, or nothing of a job that lives.
local function heal_result(id)
  local record = P .. 'job:' .. id
  local status, result, ended_at, revision =
    unpack(read(record, 'state', 'result', 'ended-at', 'revision'), 1, 4)
  if not ENDS[status] then return nil end
  ended_at, revision = ended_at or '0', revision or '1'
  if result and result ~= '' then return status, ended_at, revision end
  -- A job that had ended otherwise may still have the error of that end.
  if status == 'completed' then redis.call('HDEL', record, 'error') end
  local whole, changes = read_whole(record), {}
  for i, value in ipairs(read(record, unpack(ADDED))) do
    if value and value ~= '' then
      table.insert(changes, ADDED[i])
      table.insert(changes, value)
    end
  end
  publish(id, record, status, ended_at, changes, whole)
  return status, ended_at, revision
end
