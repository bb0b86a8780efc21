#!lua flags=allow-oom
-- Ends a job and publishes its result.
-- Transition: polling -> completed (ready), polling -> failed (failed), polling -> expired (overdue)
-- Transition: submitting -> failed (rejected)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] completed_retention_ms
-- ARGV[3] failed_retention_ms
-- ARGV[4..] items of 7: id, claim, status, error, video-url, image-url, source ('' = absent)
-- Returns: a code per item: ended, stale (the claim is another's, or no row leads there), late (it had ended
--   otherwise), gone (no such record)
-- Why: a URL is true whoever brings it, so `completed` asks for no claim while the job polls.
local now = clock(ARGV[1])
local retention = { completed_ms = ARGV[2], failed_ms = ARGV[3] }
local ITEM, FIRST = 7, 4
local ENDS = { completed = true, failed = true, expired = true, cancelled = true }
local ADDED = { 'error', 'video-url', 'image-url', 'source' }
local LEADS_TO = { submitting = { failed = true }, polling = ENDS }

local codes, leaving = {}, {}
for at = FIRST, #ARGV, ITEM do
  local id, claim, status = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local job = read_whole(P .. 'job:' .. id)
  local code
  if not job[1] then
    code = 'gone'
  elseif ENDS[job[1]] then
    local repeated = job[1] == status and (job[2] == claim or status == 'completed')
    code = repeated and 'ended' or 'late'
  elseif not (LEADS_TO[job[1]] or {})[status] then
    code = 'stale'
  elseif status == 'completed' or job[2] == claim and in_hand(id) then
    -- writes
    local changes = {}
    for i, field in ipairs(ADDED) do
      local value = ARGV[at + 2 + i]
      if value ~= '' then
        changes[#changes + 1] = field
        changes[#changes + 1] = value
      end
    end
    conclude(id, job, status, changes, now, retention)
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
