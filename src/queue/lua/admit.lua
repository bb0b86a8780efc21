#!lua
-- Admits entries as jobs, or recognises them as duplicates, conflicts or rejects.
-- Transition: none -> waiting (admitted), none -> submitting (admitted into free hands)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] worker: who reads the stream; '' for an admission without a stream entry
-- ARGV[3] lease_ms
-- ARGV[4] free: how many jobs the worker can begin at once
-- ARGV[5..] items of 12: entry id or '', job id or '', SHA-1 of the body, body, fault ('' = valid),
--   user-id, customer-id, use-case-id, not-before, expires-at, traceparent, meta ('' = absent)
-- Returns: now, then a code per item: leased (begin now, claim 1), waiting, duplicate, conflict, rejected
-- Why: the fault of a rejected item is looked at last, since identity comes before anything else.
-- Why: an entry that is gone from the stream was dealt with by an earlier call whose reply was
--   lost, so it is not counted or published again. Without an entry a repeat counts twice.
local now = clock(ARGV[1])
local now_ms = int(now)
local worker, lease_ms, free = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local ITEM, FIRST = 12, 5
local REJECTED_BODY_BYTES = 4096
local jobs, submit, rejected, counters = P .. 'jobs', P .. 'submit', P .. 'rejected', P .. 'counters'

-- checks
local earliest = tonumber(head('submit')) or math.huge
if earliest <= now or redis.call('EXISTS', P .. 'paused') == 1 then free = 0 end

local function is_gone(entry)
  return entry ~= '' and #redis.call('XRANGE', jobs, entry, entry) == 0
end

-- writes
local function keep_aside(id, body, reason, entry)
  redis.call('XADD', rejected, 'MAXLEN', '~', 10000, '*', 'client-request-id', id, 'entry-id',
    entry, 'reason', reason, 'job', body:sub(1, REJECTED_BODY_BYTES))
end

local function reject(entry, id, body, fault, traceparent, meta)
  keep_aside(id, body, fault, entry)
  local result = { 'entry-id', entry, 'status', 'rejected', 'error', fault, 'ended-at', now_ms }
  for _, field in ipairs({ { 'client-request-id', id }, { 'traceparent', traceparent }, { 'meta', meta } }) do
    if field[2] ~= '' then
      result[#result + 1] = field[1]
      result[#result + 1] = field[2]
    end
  end
  redis.call('XADD', P .. 'results', '*', unpack(result))
end

local waiting, leased = {}, {}
local function create(record, at)
  local entry, id, sha1, body = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local due = math.max(now, tonumber(ARGV[at + 8]) or 0)
  local fields = { 'v', '1', 'revision', '1', 'body-sha1', sha1, 'user-id', ARGV[at + 5],
    'customer-id', ARGV[at + 6], 'use-case-id', ARGV[at + 7], 'accepted-at', now_ms,
    'history', '+0 accepted', 'attempts', '0', 'polls', '0' }
  local function add(field, value)
    if value ~= '' then
      fields[#fields + 1] = field
      fields[#fields + 1] = value
    end
  end
  add('entry-id', entry)
  add('not-before', ARGV[at + 8])
  add('expires-at', ARGV[at + 9])
  add('traceparent', ARGV[at + 10])
  add('meta', ARGV[at + 11])
  redis.call('SET', P .. 'body:' .. id, body)
  if free > 0 and due <= now then
    free = free - 1
    redis.call('HSET', record, 'state', 'submitting', 'posts', '1', 'claim', '1', 'worker', worker,
      'begun-at', now_ms, unpack(fields))
    leased[#leased + 1] = int(now + lease_ms)
    leased[#leased + 1] = id
    return 'leased'
  end
  redis.call('HSET', record, 'state', 'waiting', 'posts', '0', 'claim', '0', 'next-at', int(due),
    unpack(fields))
  waiting[#waiting + 1] = int(due)
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
for at = FIRST, #ARGV, ITEM do
  local entry, id, sha1, body, fault = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local record = P .. 'job:' .. id
  local known = id ~= '' and redis.call('HMGET', record, 'body-sha1', 'entry-id', 'state', 'claim',
    'worker') or {}
  local code
  if not known[1] and fault == '' then
    code = create(record, at)
    count('accepted')
  elseif known[1] and entry ~= '' and known[2] == entry then
    local mine = known[3] == 'submitting' and known[4] == '1' and known[5] == worker
    code = mine and 'leased' or 'waiting'
  else
    code = not known[1] and 'rejected' or known[1] == sha1 and 'duplicate' or 'conflict'
    if not is_gone(entry) then
      count(code)
      if code == 'conflict' then
        keep_aside(id, body, 'conflict: another body was accepted under this id', entry)
      elseif code == 'rejected' then
        reject(entry, id, body, fault, ARGV[at + 10], ARGV[at + 11])
      end
    end
  end
  reply[#reply + 1] = code
  if entry ~= '' then entries[#entries + 1] = entry end
end
if #waiting > 0 then redis.call('ZADD', submit, unpack(waiting)) end
if #leased > 0 then redis.call('ZADD', P .. 'leases', unpack(leased)) end
for what, n in pairs(counts) do redis.call('HINCRBY', counters, what, n) end
if #entries > 0 then
  redis.call('XACK', jobs, 'workers', unpack(entries))
  redis.call('XDEL', jobs, unpack(entries))
end
return reply
