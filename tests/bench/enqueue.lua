-- What wrk sends to the gateway: wrk -t1 .. -s enqueue.lua URL -- PREFIX JOBS
-- Each request holds so many jobs, whose ids nobody has used before; with 0, it is HEAD on the path
-- of the push. At the end one line: requests, microseconds, answers that were no success.
local prefix, jobs, sent = nil, 0, 0
local BODY = '{"client-request-id":"%s-%07d","customer-id":"acme","use-case-id":"birthday",'
  .. '"user-id":"user-%07d","phrase-texts":["' .. string.rep('Happy birthday! ', 16) .. '"]}'

function init(arguments)
  prefix, jobs = arguments[1], tonumber(arguments[2])
end

local function body()
  sent = sent + 1
  return string.format(BODY, prefix, sent, sent)
end

function request()
  if jobs == 0 then return wrk.format('HEAD', '/video-push-endpoint') end
  if jobs == 1 then return wrk.format('POST', '/v1/jobs', nil, body()) end
  local bodies = {}
  for at = 1, jobs do bodies[at] = body() end
  return wrk.format('POST', '/v1/jobs', nil, '[' .. table.concat(bodies, ',') .. ']')
end

function done(summary)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format('measured %d %d %d', summary.requests, summary.duration, failed))
end
