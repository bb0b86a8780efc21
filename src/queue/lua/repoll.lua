#!lua flags=allow-oom
-- Puts a job whose video is not ready back to wait for its next status check.
-- Transition: polling -> polling (not yet), polling -> polling (handed back)
-- Transition: expired -> expired (not yet), expired -> expired (handed back)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] worker: who held the jobs
-- ARGV[3..] items of 5: id, claim, delay_ms, streak ('' = an understood answer ended it), event for
--   the history
-- Returns: a code per item: polling, stale (the claim is another's, or the job has ended), gone
-- Why: a check that tells of a failure was understood.
-- Why: only a job in hand is put back, so a repeated call changes nothing.
-- Why: `pushed-at` is later than `next-at` when a push came during the check: the next one is due
--   for it. An expired job is checked for its push alone, so that both stay the same.
local now, worker = clock(ARGV[1]), ARGV[2]
local ITEM, FIRST, FAILING_KEPT_MS = 5, 3, 3600000

-- checks
local came_to_nothing = false
local codes, due, moves, leaving, is_due = {}, {}, {}, {}, false
for at = FIRST, #ARGV, ITEM do
  local id, claim, delay_ms, streak, event = unpack(ARGV, at, at + ITEM - 1)
  local record = P .. 'job:' .. id
  local state, held_claim, holder, accepted_at, history, recoveries, old_streak, pushed_at, due_at =
    unpack(read(record, 'state', 'claim', 'worker', 'accepted-at', 'history', 'recoveries', 'streak',
      'pushed-at', 'next-at'), 1, 9)
  local again = checked_again(state, record)
  local fenced = (state == 'polling' or again) and held_claim == claim and holder == worker
  if fenced and in_hand(id) then
    local next_at = int(now + delay_ms)
    if pushed_at and num(pushed_at) > num(due_at) and num(pushed_at) < now + delay_ms then
      next_at = pushed_at
    end
    due[#due + 1], due[#due + 2] = next_at, id
    is_due = is_due or tonumber(delay_ms) == 0
    leaving[#leaving + 1] = id
    local is_bad = streak ~= '' and streak ~= old_streak and streak:sub(1, 7) ~= 'failed '
    came_to_nothing = came_to_nothing or is_bad
    moves[#moves + 1] = { record = record, next_at = next_at, recoveries = recoveries,
      history = remember(history, accepted_at, now, event), again = again,
      streak = streak ~= '' and { 'streak', streak } or {}, over = streak == '' and old_streak }
  end
  codes[#codes + 1] = not state and 'gone' or fenced and 'polling' or 'stale'
end

-- writes
if #due > 0 then redis.call('ZADD', P .. 'poll', unpack(due)) end
for _, move in ipairs(moves) do
  if move.recoveries then redis.call('HDEL', move.record, 'recoveries') end
  if move.over then redis.call('HDEL', move.record, 'streak') end
  redis.call('HSET', move.record, 'next-at', move.next_at, 'history', move.history, unpack(move.streak))
  if move.again then redis.call('HSET', move.record, 'pushed-at', move.next_at) end
end
-- Since when checks come to nothing: a beat that knows of a good one takes it away.
if came_to_nothing then
  redis.call('SET', P .. 'checks-fail-since', int(now), 'NX')
  redis.call('PEXPIRE', P .. 'checks-fail-since', FAILING_KEPT_MS)
end
leave('leases', leaving)
if is_due then wake('poll') end
return codes
