#!lua flags=allow-oom
-- Puts a job that the API surely did not accept back to wait for its next submit.
-- Transition: submitting -> waiting (retry later), submitting -> waiting (handed back)
-- Transition: submitting -> failed (refused alone)
-- KEYS[1] P
-- ARGV[1] now: Unix ms, '' = the server's time
-- ARGV[2] worker: who held the jobs
-- ARGV[3] completed_retention_ms
-- ARGV[4] failed_retention_ms
-- ARGV[5] refused_grace_ms: submit.refused_grace
-- ARGV[6..] items of 6: id, claim, delay_ms, attempts spent (0 or 1), event for the history, refusal:
--   in words how the API refused this job ('' = it did not)
-- Returns: a code per item: waiting, refused (the job ended for it), stale (the claim is another's),
--   gone (no such record)
-- Why: what is due at once is another worker's to take, which knows of it only by a wake.
-- Why: a refusal may be our fault, so it ends a job only when it came again and again for a while, and
--   others were accepted since the first; never while the stage is halted, when only the first is
--   noted, nor while a POST of the job is unanswered.
local now, worker = clock(ARGV[1]), ARGV[2]
local retention = { completed_ms = ARGV[3], failed_ms = ARGV[4] }
local refused_grace_ms = tonumber(ARGV[5])
local ITEM, FIRST, REFUSED_ALONE_AFTER = 6, 6, 3

-- The record's `refusals`: how often, how many jobs had been submitted at the first, and when that was.
-- And whether that is enough to end the job.
local function count_refusal(so_far, unconfirmed)
  local halted = unpack(read(P .. 'stage:submit', 'state'), 1, 1) == 'halted'
  local submitted = num(unpack(read(P .. 'counters', 'submitted'), 1, 1))
  -- The time was not noted by earlier versions.
  local times, at_first, first = (so_far or ''):match('^(%d+) (%d+) ?(%d*)$')
  times, first = num(times) + (halted and 0 or 1), num(first)
  at_first, first = at_first and num(at_first) or submitted, first > 0 and first or now
  local alone = not halted and times >= REFUSED_ALONE_AFTER and now - first >= refused_grace_ms
    and submitted > at_first and num(unconfirmed) == 0
  return int(times) .. ' ' .. int(at_first) .. ' ' .. int(first), alone
end

-- checks
local codes, due, moves, alone, leaving, is_due = {}, {}, {}, {}, {}, false
for at = FIRST, #ARGV, ITEM do
  local id, claim, delay_ms, spent, event, refusal = unpack(ARGV, at, at + ITEM - 1)
  local record = P .. 'job:' .. id
  local state, held_claim, holder, attempts, retries, accepted_at, history, expires_at, refusals,
    unconfirmed, fault = unpack(read(record, 'state', 'claim', 'worker', 'attempts', 'retries',
      'accepted-at', 'history', 'expires-at', 'refusals', 'unconfirmed', 'error'), 1, 11)
  local fenced = held_claim == claim and (holder == worker or ENDS[state])
  local code = not state and 'gone' or 'stale'
  if fenced and state == 'waiting' then
    -- An earlier call that was cut off may have left it in both places.
    code = 'waiting'
    leaving[#leaving + 1] = id
  elseif fenced and state == 'failed' and refusal ~= '' and fault == refusal then
    code = 'refused'
    alone[#alone + 1] = { id = id }
  elseif fenced and state == 'submitting' then
    local is_alone = false
    if refusal ~= '' then refusals, is_alone = count_refusal(refusals, unconfirmed) end
    leaving[#leaving + 1] = id
    if is_alone then
      code = 'refused'
      alone[#alone + 1] = { id = id, refusal = refusal }
    else
      code = 'waiting'
      local next_at = int(math.min(now + delay_ms, tonumber(expires_at) or math.huge))
      due[#due + 1], due[#due + 2] = next_at, id
      is_due = is_due or tonumber(delay_ms) == 0
      moves[#moves + 1] = { record = record, next_at = next_at, attempts = num(attempts) + spent,
        retries = num(retries) + 1, refused = refusals and { 'refusals', refusals } or {},
        history = remember(history, accepted_at, now, event) }
    end
  end
  codes[#codes + 1] = code
end

-- writes
if #due > 0 then redis.call('ZADD', P .. 'submit', unpack(due)) end
for _, move in ipairs(moves) do
  -- What a submit may have left: its crashes are over, and the operator's marks were obeyed.
  redis.call('HDEL', move.record, 'recoveries', 'resend', 'held')
  redis.call('HSET', move.record, 'state', 'waiting', 'attempts', int(move.attempts), 'retries',
    int(move.retries), 'next-at', move.next_at, 'history', move.history, unpack(move.refused))
end
for _, it in ipairs(alone) do
  if it.refusal then
    local record = P .. 'job:' .. it.id
    conclude(it.id, record, read_whole(record), 'failed', { 'error', it.refusal }, now)
  elseif heal(it.id) then
    leaving[#leaving + 1] = it.id
  end
end
wind_up(retention)
if #moves > 0 then count('retried', #moves) end
leave('leases', leaving)
if is_due then wake('submit') end
return codes
