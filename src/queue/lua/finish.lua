#!lua flags=allow-oom
-- Ends a job and publishes its result.
-- Transition: polling -> completed (ready), polling -> failed (failed), polling -> expired (overdue)
-- Transition: submitting -> failed (rejected), expired -> completed (ready)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] worker: who held the jobs
-- ARGV[3] completed_retention_ms
-- ARGV[4] failed_retention_ms
-- ARGV[5..] items of 7: id, claim, status, error, video-url, image-url, source ('' = absent)
-- Returns: a code per item: ended, stale (the claim is another's, or no row leads there), late (it
--   had ended otherwise; a URL is recorded), gone (no such record)
-- Why: a URL is true whoever brings it, so `completed` asks for no claim while the job polls, and
--   a job that ended by time ends again, with its video.
-- Why: an expired job is in no place; it is made due in `poll` before it ends again, so that what a
--   script leaves undone is found.
local now, worker = clock(ARGV[1]), ARGV[2]
local retention = { completed_ms = ARGV[3], failed_ms = ARGV[4] }
local ITEM, FIRST = 7, 5
local LEADS_TO = { submitting = { failed = true }, polling = ENDS }

-- What the end adds to record and result, names and values in turn; `words` are those of ADDED.
local function added(words)
  local changes, last = {}, 0
  for i = 1, #words do
    local value = words[i]
    if value ~= '' then
      changes[last + 1], changes[last + 2] = ADDED[i], value
      last = last + 2
    end
  end
  return changes
end

-- checks and writes, job by job
-- Whether a job was held under this claim, by this worker; an ended one names no worker any more.
local function is_of(record, claim, holder)
  local held_claim, held_by = unpack(read(record, 'claim', 'worker'), 1, 2)
  return held_claim == claim and (not holder or held_by == holder)
end

-- A URL for a job that had ended otherwise: it is recorded.
local function keep_url(record, changes)
  for i = 1, #changes, 2 do
    if changes[i] ~= 'source' then redis.call('HSETNX', record, changes[i], changes[i + 1]) end
  end
end

-- Ends the one more check of an expired job, if it was this one.
local function end_check(id, record, claim)
  if not in_hand(id) or not is_of(record, claim, worker) then return false end
  redis.call('HDEL', record, 'next-at', 'worker', 'recoveries', 'streak')
  return true
end

local codes, leaving, also_in_poll = {}, {}, false
for at = FIRST, #ARGV, ITEM do
  local id, claim, status, fault, video_url, image_url, source = unpack(ARGV, at, at + ITEM - 1)
  local record, changes = P .. 'job:' .. id, added({ fault, video_url, image_url, source })
  local whole = read_whole(record)
  local state, has_url, code, stays = unpack(whole, 1, 1), status == 'completed', 'stale', false
  if not state then
    code = 'gone'
  elseif state == 'expired' and has_url then
    end_again(id, record, whole, changes, now)
    code, also_in_poll = 'ended', true
  elseif ENDS[state] then
    heal(id)
    local again = state == status and (has_url or is_of(record, claim))
    code = again and 'ended' or 'late'
    if code == 'late' and has_url then keep_url(record, changes) end
    stays = checked_again(state, record) and not end_check(id, record, claim)
  elseif (LEADS_TO[state] or {})[status]
    and (has_url or is_of(record, claim, worker) and in_hand(id)) then
    conclude(id, record, whole, status, changes, now)
    code = 'ended'
  end
  if (code == 'ended' or code == 'late') and not stays then leaving[#leaving + 1] = id end
  codes[#codes + 1] = code
end
wind_up(retention)
if leave('leases', leaving) < #leaving or also_in_poll then leave('poll', leaving) end
return codes
