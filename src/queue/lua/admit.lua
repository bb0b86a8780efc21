#!lua
-- Admits entries as jobs, or recognises them as duplicates, conflicts or rejects.
-- Transition: none -> waiting (admitted), none -> submitting (admitted into free hands)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] worker: who reads the stream; '' for an admission without a stream entry
-- ARGV[3] lease_ms
-- ARGV[4] free: how many jobs the worker can begin at once
-- ARGV[5] number: of this admission among the worker's, rising
-- ARGV[6..] items of 8 and more: entry id or '', job id or '', SHA-1 of the canonical body, body,
--   fault ('' = valid), not-before, expires-at ('' = none), how many words follow; then names and
--   values in turn, which the record takes over as they are (or the result of what is rejected)
-- Returns: now, then a code per item: leased (begin now, claim 1), waiting, duplicate, conflict,
--   rejected
-- Why: the fault of a rejected item is looked at last, since identity comes before anything else.
-- Why: an entry that is gone from the stream was dealt with by an earlier call whose reply was
--   lost, so it is not counted or published again. Without an entry a repeat counts twice.
-- Why: a job gets its place before its record: a place without a record is taken away by whoever
--   finds it, a record without a place would be found by nobody.
local now, worker, lease_ms, free, number = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3]),
  tonumber(ARGV[4]), tonumber(ARGV[5])
local ITEM, FIRST, REJECTED_BODY_BYTES = 8, 6, 4096
local now_ms, claimed, jobs = int(now), P .. 'claimed:admit:' .. worker, P .. 'jobs'

-- checks
-- What an earlier call of this number took into its hands: it is given again, to nobody else.
local before = free > 0 and taken_before(claimed, number) or {}
local taken = {}
for _, id in ipairs(before) do taken[id] = true end
local head_due = tonumber(head('submit')) or math.huge
local earliest = head_due
if earliest <= now or redis.call('EXISTS', P .. 'paused', P .. 'stage:submit') > 0 then free = 0 end

-- Calls `visit` for each item with its place among them, its words, and where those of the record
-- begin and end.
local function each(visit)
  local at, n, size = FIRST, 1, #ARGV
  while at <= size do
    local entry, id, sha1, body, fault, not_before, expires_at, words = unpack(ARGV, at, at + ITEM - 1)
    local first, last = at + ITEM, at + ITEM - 1 + words
    visit(n, first, last, entry, id, sha1, body, fault, not_before, expires_at)
    at, n = last + 1, n + 1
  end
end

-- What a known id makes of an item.
local function known(record, sha1, entry, id, there)
  local from_entry, state, claim, holder =
    unpack(read(record, 'entry-id', 'state', 'claim', 'worker'), 1, 4)
  if entry ~= '' and from_entry == entry then
    local mine = taken[id] and state == 'submitting' and claim == '1' and holder == worker
    return mine and 'leased' or 'waiting'
  end
  return there == sha1 and 'duplicate' or 'conflict'
end

local reply, records, dues, begun, waiting, entries, admitted = { now }, {}, {}, {}, {}, {}, {}
each(function(n, _, _, entry, id, sha1, _, fault, not_before, expires_at)
  local record, code = P .. 'job:' .. id, nil
  local there = admitted[id] or id ~= '' and ask('HGET', record, 'body-sha1')
  -- A key of another type (nil) is somebody else's: nothing can be admitted under its id.
  if there or there == nil then
    code = known(record, sha1, entry, id, there)
  elseif fault ~= '' then
    code = 'rejected'
  else
    local ends = tonumber(expires_at) or math.huge
    local due = not_before == '' and now or math.max(now, math.min(num(not_before), ends))
    admitted[id], dues[n], records[n] = sha1, int(due), record
    if free > 0 and due <= now and ends > now then
      code, free = 'leased', free - 1
      begun[#begun + 1] = id
    else
      code, earliest = 'waiting', math.min(earliest, due)
      waiting[#waiting + 1], waiting[#waiting + 2] = dues[n], id
    end
  end
  reply[#reply + 1] = code
  if entry ~= '' then entries[#entries + 1] = entry end
end)

-- writes
if #begun > 0 then lease(claimed, number, begun, now, lease_ms, before) end
if #waiting > 0 then redis.call('ZADD', P .. 'submit', unpack(waiting)) end

local function create(record, leased, due, first, last, id, sha1, body)
  local claims = leased and '1' or '0'
  redis.call('SET', P .. 'body:' .. id, body)
  -- Fields are searched from the first on, so those come first that are read most.
  redis.call('HSET', record, 'state', leased and 'submitting' or 'waiting', 'claim', claims,
    'accepted-at', now_ms, 'history', '+0 accepted', 'posts', claims, 'polls', '0', 'attempts', '0',
    leased and 'worker' or 'next-at', leased and worker or due, 'revision', '1', 'v', '1',
    'body-sha1', sha1, unpack(ARGV, first, last))
end

local function keep_aside(entry, id, body, reason)
  redis.call('XADD', P .. 'rejected', 'MAXLEN', '~', 10000, '*', 'client-request-id', id, 'entry-id',
    entry, 'reason', reason, 'job', body:sub(1, REJECTED_BODY_BYTES))
end

local function is_gone(entry)
  return entry ~= '' and #(ask('XRANGE', jobs, entry, entry) or {}) == 0
end

local counts = {}
each(function(n, first, last, entry, id, sha1, body, fault)
  local code, due = reply[n + 1], dues[n]
  if due then
    create(records[n], code == 'leased', due, first, last, id, sha1, body)
    code = 'accepted'
  elseif code == 'leased' or code == 'waiting' then
    -- Admitted by an earlier call, perhaps by one that was cut off.
    put_right(id, now, lease_ms)
    return
  elseif is_gone(entry) then
    return
  elseif code == 'conflict' then
    keep_aside(entry, id, body, 'conflict: another body was accepted under this id')
  elseif code == 'rejected' then
    keep_aside(entry, id, body, fault)
    redis.call('XADD', P .. 'results', '*', 'entry-id', entry, 'status', 'rejected', 'error', fault,
      'ended-at', now_ms, unpack(ARGV, first, last))
  end
  counts[code] = (counts[code] or 0) + 1
end)
for what, how_many in pairs(counts) do count(what, how_many) end
if #entries > 0 then
  -- What is deleted and not acknowledged is given up by whoever finds it pending; an entry that is
  -- acknowledged and not deleted would be found by nobody.
  redis.call('XDEL', jobs, unpack(entries))
  redis.call('XACK', jobs, 'workers', unpack(entries))
end
if earliest < head_due then wake('submit') end
return reply
