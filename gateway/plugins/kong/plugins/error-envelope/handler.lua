-- error-envelope: each of the gateway's own errors as {"code", "message", "request_id"} (A5), and
-- requests in the form that routing and the services rely on.
--
-- rewrite        a request id of the client that is not ours to log is replaced before anybody sees
--                it; what was sent as a key is noted, because key-auth hides it even when it is
--                wrong; Host is written in one way; Connection and what it names are taken off
-- header_filter  what did not come from the service gets our headers
-- body_filter    and our body
--
-- A global instance covers unmatched routes and nginx's own 400 and 414 too; for the latter no
-- rewrite has run.
local answers = require "kong.plugins.error-envelope.answers"

local kong = kong
local ngx = ngx

local ErrorEnvelope = {
  -- Kong runs every phase from high to low: in header_filter correlation-id (100001) has set
  -- X-Request-ID before. When nginx ends a request in access (a body that breaks while a plugin
  -- reads it), only plugins whose turn has come shape the answer: so above all that read a body or
  -- end a request (bot-detection 2500, cors 2000, key-auth 1250, request-size-limiting 951).
  PRIORITY = 3000,
  VERSION = "1.1.0",
}

local REQUEST_ID = "X-Request-ID"
local API_KEY = "X-API-Key"
local MAX_REQUEST_ID = 64 -- characters
local MAX_HEADERS = 1000 -- the most that Kong reads

-- Read by the gateway itself, and so kept when Connection names them: without its Content-Length,
-- for one, a request reaches the service without its body.
local KEPT = {
  host = true, ["content-length"] = true, ["transfer-encoding"] = true,
  [API_KEY:lower()] = true, [REQUEST_ID:lower()] = true,
}

-- Headers that describe a body which is replaced.
local OF_THE_OLD_BODY = { "Content-Encoding", "Transfer-Encoding", "ETag", "Content-Language" }

local function is_good_id(id)
  return type(id) == "string" and #id <= MAX_REQUEST_ID and id:find("^[%w._-]+$") ~= nil
end

-- Note how many keys were sent: none, one or several.
local function count_of_keys(value)
  if type(value) == "table" then
    return #value
  end
  return (value == nil or value == "") and 0 or 1
end

-- Take off what is of the client's connection only, before the gateway sets any header: Kong does
-- so after all plugins, and with it goes whatever they have set under a name in Connection.
-- Kong must not have listed the headers before (KONG_REQUEST_DEBUG=off), else it uses its list.
local function drop_headers_of_the_connection()
  for name in (ngx.var.http_connection or ""):gmatch("[^,%s]+") do
    if not KEPT[name:lower()] then
      kong.service.request.clear_header(name)
    end
  end
  kong.service.request.clear_header("Connection")
end

-- Write the host's name in lower case and without the dot at its end: names have no case, but
-- Kong's router compares letter by letter, and a host that no route names is live.
local function normalise_host()
  local host = ngx.var.http_host
  local normal = host and host:lower():gsub("%.$", ""):gsub("%.(:%d+)$", "%1")
  if normal ~= host then
    ngx.req.set_header("Host", normal)
  end
end

function ErrorEnvelope:rewrite()
  drop_headers_of_the_connection()
  normalise_host()
  kong.ctx.plugin.keys = count_of_keys(kong.request.get_headers(MAX_HEADERS)[API_KEY])
  -- correlation-id reads this variable too: X_Request_ID (which Kong lets in) counts as the header,
  -- several values come joined by ", ", and no number of other headers hides it.
  local id = ngx.var.http_x_request_id
  if id ~= nil then
    kong.service.request.set_header(REQUEST_ID, is_good_id(id) and id or ngx.var.request_id)
  end
end

-- Return the id that the answer carries, made and set if it has none yet.
local function ensure_request_id()
  local id = kong.response.get_header(REQUEST_ID)
  if not is_good_id(id) then
    id = ngx.var.request_id
    kong.response.set_header(REQUEST_ID, id)
  end
  return id
end

local function message_about_keys(keys)
  if keys == nil or keys == 0 then
    return answers.NO_KEY
  end
  return keys > 1 and answers.SEVERAL_KEYS or answers.UNKNOWN_KEY
end

-- Tell by a tag of the consumer: its request-termination and acl answer the same 403.
local function is_suspended(consumer)
  local tags = consumer and consumer.tags
  for _, tag in ipairs(type(tags) == "table" and tags or {}) do
    if tag == answers.SUSPENDED_TAG then
      return true
    end
  end
  return false
end

-- `given` is the status that Kong gave, `status` the one that goes out.
local function answer_to(given, status)
  if status == 403 and is_suspended(kong.client.get_consumer()) then
    return answers.SUSPENDED
  end
  local by_status = answers.by_status
  return by_status[given] or by_status[status] or by_status[status < 500 and 400 or 500]
end

function ErrorEnvelope:header_filter()
  local given = kong.response.get_status()
  if kong.response.get_source() == "service" or given < 400 then
    return
  end
  local status = answers.status_instead[given] or given
  if status ~= given then
    kong.response.set_status(status)
  end
  local code, message = unpack(answer_to(given, status))
  if status == 401 then
    message = message_about_keys(kong.ctx.plugin.keys)
    kong.response.set_header("WWW-Authenticate", "Key")
  end
  -- Codes and messages are ours, the id is of plain characters: nothing needs escaping.
  local body = string.format(
    '{"code":"%s","message":"%s","request_id":"%s"}', code, message, ensure_request_id()
  )
  for _, name in ipairs(OF_THE_OLD_BODY) do
    kong.response.clear_header(name)
  end
  kong.response.set_header("Content-Type", "application/json; charset=utf-8")
  kong.response.set_header("Content-Length", #body)
  -- ngx.req, because kong.request.get_method compares a version that a malformed request may lack.
  kong.ctx.plugin.body = ngx.req.get_method() ~= "HEAD" and body or ""
end

-- Called for each piece of the body; ours goes out with the last one.
function ErrorEnvelope:body_filter()
  local body = kong.ctx.plugin.body
  if body then
    ngx.arg[1] = ngx.arg[2] and body or nil
  end
end

return ErrorEnvelope
