-- Cases of the two plugins; self-contained, so that any LuaJIT can run them:
--   luajit tests/gateway/lua/plugins_test.lua        from the repository's root
-- Returns a list of {name, fault or false}; run as a program it prints them and exits with 1 if
-- one failed.
package.path = (ROOT or ".") .. "/gateway/plugins/?.lua;"
  .. (ROOT or ".") .. "/tests/gateway/lua/?.lua;" .. package.path
local stub = require "kong_stub"
local answers = require "kong.plugins.error-envelope.answers"

local ID = "0123456789abcdef0123456789abcdef"
local results = {}

local function case(name, body)
  local good, fault = pcall(body)
  results[#results + 1] = { name, not good and tostring(fault) or false }
end

local function equal(found, wanted)
  if found ~= wanted then
    error("found " .. tostring(found) .. ", wanted " .. tostring(wanted), 2)
  end
end

local function body_of(code, message, id)
  return '{"code":"' .. code .. '","message":"' .. message .. '","request_id":"' .. id .. '"}'
end

local function envelope(given)
  given.plugin = "error-envelope"
  return stub.request(given)
end

local function own_error(status, more)
  local given = {
    source = "exit",
    status = status,
    headers = { ["X-Request-ID"] = "id-1", ["Content-Length"] = "5", ["Content-Type"] = "text/html" },
    pieces = { "<old>" },
  }
  for name, value in pairs(more or {}) do given[name] = value end
  return envelope(given)
end

for status, answer in pairs(answers.by_status) do
  case("status " .. status .. " is answered in the one shape", function()
    local got = own_error(status, { sent = { ["X-API-Key"] = "wrong" } })
    local wanted = body_of(answer[1], answer[2], "id-1")
    equal(got.status, answers.status_instead[status] or status)
    equal(got.body, wanted)
    equal(got.received["Content-Length"], tostring(#wanted))
    equal(got.received["Content-Type"], "application/json; charset=utf-8")
  end)
end

case("an error without a row of its own is answered by its class", function()
  equal(own_error(418).body, body_of("INVALID_REQUEST", "The request is malformed", "id-1"))
  equal(own_error(507).body, body_of("INTERNAL_ERROR", "An unexpected error occurred", "id-1"))
end)

case("a form of HTTP that is not supported is the caller's fault: 400, and what is wrong", function()
  for status, text in pairs({ [501] = "transfer coding", [505] = "HTTP/1.1" }) do
    local got = own_error(status)
    equal(got.status, 400)
    assert(got.body:find('"code":"INVALID_REQUEST"', 1, true), got.body)
    assert(got.body:find(text, 1, true), got.body)
  end
end)

case("a client that waits for 100-continue is told 413, not 417", function()
  local got = own_error(417)
  equal(got.status, 413)
  equal(got.body, body_of("PAYLOAD_TOO_LARGE", "The request body is too large", "id-1"))
end)

for name, given in pairs({
  ["no key"] = { nil, answers.NO_KEY },
  ["an empty key"] = { "", answers.NO_KEY },
  ["a wrong key"] = { "pk_live_wrong", answers.UNKNOWN_KEY },
  ["several keys"] = { { "one", "two" }, answers.SEVERAL_KEYS },
}) do
  case("401 for " .. name .. " says so and how to authenticate", function()
    local got = own_error(401, { sent = { ["x-api-key"] = given[1] } })
    equal(got.body, body_of("UNAUTHORIZED", given[2], "id-1"))
    equal(got.received["WWW-Authenticate"], "Key")
  end)
end

local function suspended(tags)
  return { username = "acme", tags = tags }
end

case("403 for a suspended partner says that it is suspended", function()
  for _, tags in ipairs({ { "suspended" }, { "other", "suspended" } }) do
    local got = own_error(403, { consumer = suspended(tags) })
    equal(got.status, 403)
    equal(got.body, body_of(answers.SUSPENDED[1], answers.SUSPENDED[2], "id-1"))
  end
end)

case("403 for anybody else says that the key is for another environment", function()
  local userdata = newproxy and newproxy() or io.stdout -- as Kong's null is
  for _, tags in ipairs({ false, {}, { "suspended-not" }, "suspended", userdata }) do
    local got = own_error(403, { consumer = suspended(tags or nil) })
    equal(got.body, body_of(answers.by_status[403][1], answers.by_status[403][2], "id-1"))
  end
end)

case("a suspended partner's other errors are the usual ones", function()
  local got = own_error(429, { consumer = suspended({ "suspended" }) })
  equal(got.body, body_of(answers.by_status[429][1], answers.by_status[429][2], "id-1"))
end)

case("a 403 of the service is the service's, also for a suspended partner", function()
  local got = envelope({
    status = 403, pieces = { "theirs" }, consumer = suspended({ "suspended" }),
  })
  equal(got.body, "theirs")
end)

case("other errors do not ask for a key", function()
  equal(own_error(403).received["WWW-Authenticate"], nil)
end)

case("an answer of the service passes as it is", function()
  for _, status in ipairs({ 200, 400, 404, 500 }) do
    local got = envelope({ status = status, headers = { ETag = "x" }, pieces = { "a", "b", "" } })
    equal(got.body, "ab")
    equal(got.status, status)
    equal(got.received["ETag"], "x")
    equal(got.received["Content-Type"], nil)
  end
end)

case("an answer of the gateway that is no error passes as it is", function()
  equal(own_error(204, { pieces = { "" } }).body, "")
end)

case("the body goes out once, however many pieces the old one had", function()
  local got = own_error(404, { pieces = { "a", "b", "c", "" } })
  equal(got.body, body_of("NOT_FOUND", "No such path", "id-1"))
end)

case("an error that answers HEAD has the length of its body, and no body", function()
  local got = own_error(404, { method = "HEAD", pieces = { "", "" } })
  equal(got.body, "")
  equal(got.status, 404)
  equal(got.received["Content-Length"], tostring(#body_of("NOT_FOUND", "No such path", "id-1")))
end)

case("what is not an error has no new body: 304", function()
  local got = own_error(304, { pieces = { "" } })
  equal(got.body, "")
  equal(got.received["Content-Type"], "text/html")
end)

case("an answer of the service is never held back", function()
  local got = envelope({ pieces = { "a", "b", "" } })
  equal(table.concat(got.pieces, "|"), "a|b|")
end)

case("no text of the table needs escaping in JSON", function()
  local function plain(text)
    assert(text:find('^[%w%p ]+$') and not text:find('["\\]'), text)
  end
  for _, answer in pairs(answers.by_status) do
    plain(answer[1])
    plain(answer[2])
  end
  for _, text in ipairs({ answers.NO_KEY, answers.UNKNOWN_KEY, answers.SEVERAL_KEYS }) do
    plain(text)
  end
end)

case("headers of the old body are gone", function()
  local got = own_error(502, {
    headers = { ["X-Request-ID"] = "id-1", ["Content-Encoding"] = "gzip", ETag = "x" },
  })
  equal(got.received["Content-Encoding"], nil)
  equal(got.received["ETag"], nil)
end)

case("an error of nginx itself, before any plugin ran, gets a request id", function()
  local got = own_error(414, { source = "error", skip_request_phases = true, headers = {} })
  equal(got.body, body_of("URI_TOO_LONG", "The URI is too long", ID))
  equal(got.received["X-Request-ID"], ID)
end)

case("a bad request id that nobody could replace is not echoed", function()
  local got = own_error(400, {
    source = "error", skip_request_phases = true, headers = { ["X-Request-ID"] = 'a"b' },
  })
  equal(got.body, body_of("INVALID_REQUEST", "The request is malformed", ID))
  equal(got.received["X-Request-ID"], ID)
end)

for _, id in ipairs({ "", " ", "a b", 'a"b', "a\\b", "a\nb", "a\0b", "é", ("x"):rep(65), "a/b", "a,b" }) do
  case("the request id " .. id:gsub("%c", "?") .. " is replaced before the service sees it", function()
    equal(envelope({ sent = { ["X-Request-ID"] = id } }).to_service["X-Request-ID"], ID)
  end)
end

case("several request ids are replaced by one", function()
  equal(envelope({ sent = { ["X-Request-ID"] = { "a", "b" } } }).to_service["X-Request-ID"], ID)
end)

for _, id in ipairs({ "a", "A-Z_0.9", ("x"):rep(64) }) do
  case("the request id " .. id .. " is kept", function()
    equal(envelope({ sent = { ["X-Request-ID"] = id } }).sent["X-Request-ID"], id)
  end)
end

-- Kong passes X_Request_ID on, and nginx (so correlation-id too) reads it as X-Request-ID.
for _, name in ipairs({ "X_Request_ID", "x-request_id" }) do
  case("a bad request id in " .. name .. " is replaced too", function()
    equal(envelope({ sent = { [name] = 'a"b' } }).to_service["X-Request-ID"], ID)
  end)
  case("a good request id in " .. name .. " is the one that the service sees", function()
    equal(envelope({ sent = { [name] = "good-1" } }).to_service["X-Request-ID"], "good-1")
  end)
  case("a request id in both X-Request-ID and " .. name .. " counts as several", function()
    local got = envelope({ sent = { ["X-Request-ID"] = "good-1", [name] = "good-2" } })
    equal(got.to_service["X-Request-ID"], ID)
  end)
end

case("a bad request id behind more headers than Kong lists is replaced", function()
  local got = envelope({ sent = { ["X-Request-ID"] = "a b" }, listed = {} })
  equal(got.to_service["X-Request-ID"], ID)
end)

case("a missing request id is left to correlation-id", function()
  equal(envelope({}).to_service["X-Request-ID"], nil)
end)

for connection, gone in pairs({
  ["X-Private"] = { "X-Private" },
  ["close, x-PRIVATE"] = { "X-Private" },
  [",,X-Private,X-Other ,"] = { "X-Private", "X-Other" },
}) do
  case("Connection: " .. connection .. " is taken off with what it names", function()
    local sent = { Connection = connection, ["X-Private"] = "1", ["X-Other"] = "2", ["X-Third"] = "3" }
    local got = envelope({ sent = sent })
    equal(got.sent["Connection"], nil)
    equal(got.sent["X-Third"], "3")
    for _, name in ipairs(gone) do equal(got.sent[name], nil) end
  end)
end

case("each of several Connection headers counts", function()
  local got = envelope({ sent = { Connection = { "X-Private", "close" }, ["X-Private"] = "1" } })
  equal(got.sent["X-Private"], nil)
  equal(got.sent["Connection"], nil)
end)

case("what the gateway reads itself stays though Connection names it", function()
  local sent = {
    Host = "x", ["Content-Length"] = "1", ["Transfer-Encoding"] = "chunked", ["X-API-Key"] = "k",
    ["X-Request-ID"] = "id-1",
  }
  local names = {}
  for name in pairs(sent) do names[#names + 1] = name end
  sent.Connection = table.concat(names, ", "):upper()
  local got = envelope({ sent = sent })
  for _, name in ipairs(names) do assert(got.sent[name], name) end
end)

for host, normal in pairs({
  ["Sandbox-API.Localhost"] = "sandbox-api.localhost",
  ["A.Example:8000"] = "a.example:8000",
  ["a.example."] = "a.example",
  ["A.example.:8000"] = "a.example:8000",
  ["127.0.0.1:80"] = "127.0.0.1:80",
  ["127.0.0.1"] = "127.0.0.1",
  ["[::1]:8000"] = "[::1]:8000",
  [""] = "",
}) do
  case("the host '" .. host .. "' is routed as '" .. normal .. "'", function()
    equal(envelope({ sent = { Host = host } }).sent["Host"], normal)
  end)
end

local CONF = { header = "X-Backend-Token", token = "a-secret" }

case("the token goes to the service in place of a client's", function()
  local got = stub.request({
    plugin = "backend-token", conf = CONF, sent = { ["X-Backend-Token"] = "spoofed" },
  })
  equal(got.to_service["X-Backend-Token"], "a-secret")
  equal(got.sent["X-Backend-Token"], "a-secret")
end)

case("a header that the service must not see is hidden, and no other", function()
  local got = stub.request({
    plugin = "backend-token",
    conf = { header = "X-Backend-Token", token = "a-secret", hide = { "X-API-Key" } },
    sent = { ["x-api-key"] = "pk_live_key", Accept = "*/*" },
  })
  equal(got.sent["X-API-Key"], nil)
  equal(got.sent["Accept"], "*/*")
end)

for name, token in pairs({ none = false, empty = "", unresolved = "{vault://env/backend-token}" }) do
  case("without a token (" .. name .. ") nothing gets to the service", function()
    local got = stub.request({
      plugin = "backend-token",
      conf = { header = "X-Backend-Token", token = token or nil },
    })
    equal(got.status, 500)
    equal(got.source, "exit")
    equal(got.to_service["X-Backend-Token"], nil)
    equal(#got.logged, 1)
    equal(got.logged[1]:find("a-secret", 1, true), nil)
  end)
end

case("the order among Kong's own plugins is as meant", function()
  local backend_token = require("kong.plugins.backend-token.handler").PRIORITY
  assert(backend_token < 910 and backend_token > 2, "between rate-limiting and termination")
  local error_envelope = require("kong.plugins.error-envelope.handler").PRIORITY
  assert(error_envelope > 2500 and error_envelope < 100001, "between correlation-id and bot-detection")
end)

case("the schemas name their plugin, and the token may be a reference", function()
  local function config_of(schema)
    for _, field in ipairs(schema.fields) do
      if field.config then return field.config end
    end
  end
  for _, name in ipairs({ "error-envelope", "backend-token" }) do
    local schema = require("kong.plugins." .. name .. ".schema")
    equal(schema.name, name)
    equal(config_of(schema).type, "record")
  end
  local fields = config_of(require("kong.plugins.backend-token.schema")).fields
  equal(fields[2].token.referenceable, true)
  equal(fields[2].token.required, true)
end)

if arg and arg[0] and arg[0]:find("plugins_test%.lua$") then
  local failed = 0
  for _, result in ipairs(results) do
    if result[2] then
      failed = failed + 1
      print("FAILED " .. result[1] .. ": " .. result[2])
    end
  end
  print(#results - failed .. " passed, " .. failed .. " failed")
  os.exit(failed == 0 and 0 or 1)
end
return results
