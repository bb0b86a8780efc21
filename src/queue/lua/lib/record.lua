-- What every script begins with: keys, time, numbers, and how a record is read.
-- KEYS[1] is P, the prefix of all keys of the queue ("reelq:{name}:"): its hash tag puts all of
-- them into one cluster slot, so the keys made from it are where KEYS[1] is.

local P = KEYS[1]

-- The server's time in Unix ms, or the time that a test gives.
local function clock(given)
  if given ~= '' then return tonumber(given) end
  local seconds, microseconds = unpack(redis.call('TIME'), 1, 2)
  return seconds * 1000 + math.floor(microseconds / 1000)
end

-- A whole number as Redis is to get it. Left to itself, a number is printed as a fraction would
-- be, which takes longer than most commands; and the numbers of a batch are much the same.
local texts = {}
local function int(number)
  -- What somebody wrote by hand may read as no number at all, which is no key of a table.
  if number ~= number then return '0' end
  local text = texts[number]
  if not text then
    text = string.format('%d', number)
    texts[number] = text
  end
  return text
end

-- A whole number of a record; 0 when there is none, or what stands there is none. A field that
-- somebody wrote by hand must not stop the jobs beside it.
local function num(text)
  local number = tonumber(text)
  return number and number >= 0 and number < 1e15 and math.floor(number) or 0
end

-- A key that somebody has replaced by one of another type counts as none. Whatever else goes wrong
-- (a missing right, say) ends the script, since it must not be taken for "there is none".
local function only_wrong_type(reply)
  if not reply.err:find('^WRONGTYPE') then error(reply) end
end

-- The reply of a command that reads; nil when the key is of another type.
local function ask(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  only_wrong_type(reply)
end

-- Some fields of a hash, `false` for each that is absent; none at all when it is no hash.
local function read(record, ...)
  local fields = redis.pcall('HMGET', record, ...)
  if not fields.err then return fields end
  only_wrong_type(fields)
  return {}
end

-- The pair of a job, which may be at fault as one: its template and its customer.
local function join_pair(use_case_id, customer_id)
  return (use_case_id or '') .. ' ' .. (customer_id or '')
end

local function pair_of(record)
  return join_pair(unpack(read(record, 'use-case-id', 'customer-id'), 1, 2))
end

-- Adds to the running totals. A total is never worth a job: if somebody has put something else
-- there, nothing is counted.
local function count(what, how_many)
  local reply = redis.pcall('HINCRBY', P .. 'counters', what, int(how_many))
  if type(reply) ~= 'table' or reply.err:find('^WRONGTYPE') or reply.err:find('integer') then return end
  error(reply)
end

-- Tells other processes that something of a stage is due earlier. They would notice within a
-- second anyway, so a user without channels may do without.
local function wake(stage)
  redis.pcall('PUBLISH', P .. 'wake', stage)
end

local HISTORY_MAX_BYTES = 400

-- The history with one more item, `+<ms since acceptance> <event>`. A run of polls that came to the
-- same keeps its first and its last; when the text grows too long, the items after the first go.
local function remember(history, accepted_at, now, event)
  history = history or ''
  if event:sub(1, 4) == 'poll' then
    local before, last = history:match('^(.*), %+%d+ ([^,]*)$')
    if last == event and before:match('%+%d+ ([^,]*)$') == event then history = before end
  end
  history = history .. ', +' .. int(now - (tonumber(accepted_at) or now)) .. ' ' .. event
  while #history > HISTORY_MAX_BYTES do
    local shorter, cut = history:gsub('^([^,]*), [^,]*,', '%1,', 1)
    if cut == 0 then return history:sub(1, HISTORY_MAX_BYTES) end
    history = shorter
  end
  return history
end
