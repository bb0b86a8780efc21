#!lua
-- Admits entries as jobs, or recognises them as duplicates, conflicts or rejects.
-- Transition: none -> waiting (admitted), none -> submitting (admitted into free hands)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] worker: who reads the stream; '' for an admission without a stream entry
-- ARGV[3] lease_ms
-- ARGV[4] free: how many jobs the worker can begin at once
-- ARGV[5] number: of this admission among the worker's, rising
-- ARGV[6..] items of 8 and more: entry id or '', job id or '', SHA-1 of the body, body, fault ('' =
--   valid), not-before, expires-at ('' = none), how many words follow; then names and values in
--   turn, which the record takes over as they are (or the result of what is rejected)
-- Returns: now, then a code per item: leased (begin now, claim 1), waiting, duplicate, conflict, rejected
-- Why: the fault of a rejected item is looked at last, since identity comes before anything else.
-- Why: an entry that is gone from the stream was dealt with by an earlier call whose reply was
--   lost, so it is not counted or published again. Without an entry a repeat counts twice.
local now = clock(ARGV[1])
local now_ms = int(now)
local worker, lease_ms, free = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local number = tonumber(ARGV[5])
local claimed = P .. 'claimed:admit:' .. worker
local ITEM, FIRST = 8, 6
local REJECTED_BODY_BYTES = 4096
local jobs, submit, rejected, counters = P .. 'jobs', P .. 'submit', P .. 'rejected', P .. 'counters'

-- checks
-- What an earlier call of this number took into its hands: it is given again, to nobody else.
local taken = {}
for _, id in ipairs(free > 0 and taken_before(claimed, number) or {}) do taken[id] = true end
local earliest = tonumber(head('submit')) or math.huge
if earliest <= now or redis.call('EXISTS', P .. 'paused', P .. 'stage:submit') > 0 then free = 0 end

local function is_gone(entry)
  return entry ~= '' and #redis.call('XRANGE', jobs, entry, entry) == 0
end

-- Whether this very entry became the job, by an earlier call whose reply was lost.
local function was_admitted(record, entry)
  return read(record, 'entry-id')[1] == entry
end

local function is_mine(record, id)
  local job = read(record, 'state', 'claim', 'worker')
  return taken[id] and job[1] == 'submitting' and job[2] == '1' and job[3] == worker
end

-- writes
local function keep_aside(id, body, reason, entry)
  redis.call('XADD', rejected, 'MAXLEN', '~', 10000, '*', 'client-request-id', id, 'entry-id',
    entry, 'reason', reason, 'job', body:sub(1, REJECTED_BODY_BYTES))
end

local function reject(entry, id, body, fault, first, last)
  keep_aside(id, body, fault, entry)
  redis.call('XADD', P .. 'results', '*', 'entry-id', entry, 'status', 'rejected', 'error', fault,
    'ended-at', now_ms, unpack(ARGV, first, last))
end

local waiting, leased, begun = {}, {}, {}
local function create(record, at, first, last)
  local id, expires_at = ARGV[at + 1], tonumber(ARGV[at + 6]) or math.huge
  local due = math.max(now, math.min(num(ARGV[at + 5]), expires_at))
  local due_ms, begins = int(due), free > 0 and due <= now and expires_at > now
  local count = begins and '1' or '0'
  redis.call('SET', P .. 'body:' .. id, ARGV[at + 3])
  redis.call('HSET', record, 'v', '1', 'state', begins and 'submitting' or 'waiting', 'posts', count,
    'claim', count, 'revision', '1', 'attempts', '0', 'polls', '0', 'body-sha1', ARGV[at + 2],
    'accepted-at', now_ms, 'history', '+0 accepted', begins and 'worker' or 'next-at',
    begins and worker or due_ms, unpack(ARGV, first, last))
  if begins then
    free = free - 1
    leased[#leased + 1] = int(now + lease_ms)
    leased[#leased + 1] = id
    begun[#begun + 1] = id
    return 'leased'
  end
  waiting[#waiting + 1] = due_ms
  waiting[#waiting + 1] = id
  if due < earliest then
    earliest = due
    redis.call('PUBLISH', P .. 'wake', 'submit')
  end
  return 'waiting'
end

local reply, entries, counts = { now }, {}, {}
local function count(what)
  counts[what] = (counts[what] or 0) + 1
end
local at = FIRST
while at <= #ARGV do
  local entry, id, sha1, body, fault = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local first, last = at + ITEM, at + ITEM - 1 + ARGV[at + 7]
  local record = P .. 'job:' .. id
  -- A record that is no hash is somebody else's: nothing can be admitted under its id.
  local known = id ~= '' and redis.pcall('HGET', record, 'body-sha1')
  local code
  if not known and fault == '' then
    code = create(record, at, first, last)
    count('accepted')
  elseif known and entry ~= '' and was_admitted(record, entry) then
    code = is_mine(record, id) and 'leased' or 'waiting'
  else
    code = not known and 'rejected' or known == sha1 and 'duplicate' or 'conflict'
    if not is_gone(entry) then
      count(code)
      if code == 'conflict' then
        keep_aside(id, body, 'conflict: another body was accepted under this id', entry)
      elseif code == 'rejected' then
        reject(entry, id, body, fault, first, last)
      end
    end
  end
  reply[#reply + 1] = code
  if entry ~= '' then entries[#entries + 1] = entry end
  at = last + 1
end
if #waiting > 0 then redis.call('ZADD', submit, unpack(waiting)) end
if #leased > 0 then
  redis.call('SET', claimed, int(number) .. ' ' .. table.concat(begun, ' '), 'PX', lease_ms)
  redis.call('ZADD', P .. 'leases', unpack(leased))
end
for what, n in pairs(counts) do redis.call('HINCRBY', counters, what, n) end
if #entries > 0 then
  redis.call('XACK', jobs, 'workers', unpack(entries))
  redis.call('XDEL', jobs, unpack(entries))
end
return reply
