#!lua flags=allow-oom
-- Forgets a worker that has gone; one with entries pending is kept until they are taken over.
-- Transition: none
-- KEYS[1] P
-- ARGV[1] now: not used
-- ARGV[2] worker
-- Returns: 1 when it is forgotten, 0 when it has entries pending
-- Why: the looking and the deleting are one step, for entries that are pending with a reader that
--   is deleted are delivered to nobody.
local worker, jobs = ARGV[2], P .. 'jobs'

-- checks
local pending = redis.pcall('XPENDING', jobs, 'workers', '-', '+', 1, worker)
local no_group = pending.err and (pending.err:find('^NOGROUP') or pending.err:find('^WRONGTYPE'))
if pending.err and not no_group then error(pending) end
if not no_group and #pending > 0 then return 0 end

-- writes
if not no_group then redis.call('XGROUP', 'DELCONSUMER', jobs, 'workers', worker) end
for _, stage in ipairs({ 'submit', 'poll' }) do ask('ZREM', P .. 'good:' .. stage, worker) end
ask('HDEL', P .. 'ill', worker)
redis.call('ZREM', P .. 'workers', worker)
return 1
