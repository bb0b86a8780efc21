#!lua flags=allow-oom
-- Ends a job and publishes its result.
-- Transition: polling -> completed (ready), polling -> failed (failed), polling -> expired (overdue)
-- Transition: submitting -> failed (rejected), expired -> completed (ready)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] completed_retention_ms
-- ARGV[3] failed_retention_ms
-- ARGV[4..] items of 7: id, claim, status, error, video-url, image-url, source ('' = absent)
-- Returns: a code per item: ended, stale (the claim is another's, or no row leads there), late (it had ended
--   otherwise; a URL is recorded), gone (no such record)
-- Why: a URL is true whoever brings it, so `completed` asks for no claim while the job polls, and
--   a job that ended by time ends again, with its video.
local now = clock(ARGV[1])
local retention = { completed_ms = ARGV[2], failed_ms = ARGV[3] }
local ITEM, FIRST = 7, 4
local ENDS = { completed = true, failed = true, expired = true, cancelled = true }
local ADDED = { 'error', 'video-url', 'image-url', 'source' }
local LEADS_TO = { submitting = { failed = true }, polling = ENDS }

-- What the end adds to record and result.
local function added(at)
  local changes = {}
  for i, field in ipairs(ADDED) do
    local value = ARGV[at + 2 + i]
    if value ~= '' then
      changes[#changes + 1] = field
      changes[#changes + 1] = value
    end
  end
  return changes
end

-- A URL for a job that had ended otherwise, with the job as `read_whole` gave it.
local function too_late(id, job, changes)
  local record = P .. 'job:' .. id
  if job[1] == 'expired' then
    redis.call('HDEL', record, 'error')
    redis.call('ZREM', P .. 'dead', id)
    changes[#changes + 1], changes[#changes + 2] = 'revision', int(num(job[5]) + 1)
    job[5] = false
    conclude(id, job, 'completed', changes, now, retention)
    return 'ended'
  end
  for i = 1, #changes, 2 do
    if changes[i] ~= 'source' then redis.call('HSETNX', record, changes[i], changes[i + 1]) end
  end
  return 'late'
end

local codes, leaving = {}, {}
for at = FIRST, #ARGV, ITEM do
  local id, claim, status = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local job = read_whole(P .. 'job:' .. id)
  local code
  if not job[1] then
    code = 'gone'
  elseif ENDS[job[1]] then
    local repeated = job[1] == status and (job[2] == claim or status == 'completed')
    if repeated then
      code = 'ended'
    else
      code = status == 'completed' and too_late(id, job, added(at)) or 'late'
    end
  elseif not (LEADS_TO[job[1]] or {})[status] then
    code = 'stale'
  elseif status == 'completed' or job[2] == claim and in_hand(id) then
    -- writes
    conclude(id, job, status, added(at), now, retention)
    leaving[#leaving + 1] = id
    code = 'ended'
  else
    code = 'stale'
  end
  codes[#codes + 1] = code
end
wind_up()
if #leaving > 0 and redis.call('ZREM', P .. 'leases', unpack(leaving)) < #leaving then
  redis.call('ZREM', P .. 'poll', unpack(leaving))
end
return codes
