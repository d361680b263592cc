-- A stub of the part of Kong's plugin interface that our plugins use, one request at a time.
--
-- request{...} runs a plugin's phases in Kong's order and returns what the client and the service
-- get. Like Kong it raises when a function is called in a phase that does not allow it.
local stub = {}

local function case_blind(headers)
  local by_name = {}
  for name, value in pairs(headers) do
    by_name[name:lower()] = value
  end
  return setmetatable({}, {
    __index = function(_, name) return by_name[name:lower()] end,
    __newindex = function(_, name, value) by_name[name:lower()] = value end,
  })
end

local function first(value)
  return type(value) == "table" and value[1] or value
end

-- nginx's $http_...: dashes and underscores of a name are one, and several values are joined.
local function as_nginx_reads(headers, variable)
  local values = {}
  for name, value in pairs(headers) do
    if "http_" .. name:lower():gsub("-", "_") == variable then
      for _, one in ipairs(type(value) == "table" and value or { value }) do
        values[#values + 1] = one
      end
    end
  end
  return values[1] and table.concat(values, ", ")
end

-- Return the variables of a request, read as nginx does.
local function variables(sent)
  return setmetatable({ request_id = "0123456789abcdef0123456789abcdef" }, {
    __index = function(_, name) return as_nginx_reads(sent, name) end,
  })
end

-- Return the globals `kong` and `ngx` for one request.
local function interface(state)
  local function allow(...)
    for _, phase in ipairs({ ... }) do
      if phase == state.phase then return end
    end
    error("not allowed in " .. tostring(state.phase), 3)
  end

  local kong = {
    ctx = { plugin = {} },
    client = {
      get_consumer = function()
        allow("access", "header_filter", "body_filter")
        return state.given.consumer
      end,
    },
    log = { err = function(text) state.logged[#state.logged + 1] = text end },
    request = {
      get_headers = function()
        allow("rewrite", "access", "header_filter", "body_filter")
        return state.given.listed or state.sent
      end,
    },
    service = {
      request = {
        set_header = function(name, value)
          allow("rewrite", "access")
          state.sent[name] = value
          state.to_service[name] = value
        end,
        clear_header = function(name)
          allow("rewrite", "access")
          state.sent[name] = nil
        end,
      },
    },
    response = {
      get_source = function()
        allow("header_filter", "body_filter")
        return state.source
      end,
      get_status = function()
        allow("header_filter", "body_filter")
        return state.status
      end,
      set_status = function(status)
        allow("rewrite", "access", "header_filter")
        state.status = status
      end,
      get_header = function(name)
        allow("header_filter", "body_filter")
        return first(state.received[name])
      end,
      set_header = function(name, value)
        allow("rewrite", "access", "header_filter")
        state.received[name] = tostring(value)
      end,
      clear_header = function(name)
        allow("rewrite", "access", "header_filter")
        state.received[name] = nil
      end,
      exit = function(status, body)
        allow("rewrite", "access")
        state.status, state.source, state.exited = status, "exit", true
        return body
      end,
    },
  }
  local ngx = {
    var = variables(state.given.sent or {}),
    req = {
      get_method = function() return state.given.method or "GET" end,
      set_header = function(name, value) state.sent[name] = value end,
    },
    arg = {},
  }
  return kong, ngx
end

local function run_phase(state, handler, phase, conf)
  state.phase = phase
  if handler[phase] and not state.exited then
    handler[phase](handler, conf)
  end
end

-- given: plugin, conf, method, sent (client's headers), listed (what Kong lists of them, if not
-- all), skip_request_phases (nginx's own errors), source, status, headers and pieces (of the answer
-- before the plugin), consumer (as Kong knows it after key-auth).
function stub.request(given)
  local state = {
    given = given,
    sent = case_blind(given.sent or {}),
    to_service = case_blind({}),
    received = case_blind(given.headers or {}),
    source = given.source or "service",
    status = given.status or 200,
    logged = {},
  }
  kong, ngx = interface(state)
  -- A plugin takes `kong` when it is loaded, as in Kong; here each request has its own.
  for name in pairs(package.loaded) do
    if name:find("^kong%.plugins%.") then package.loaded[name] = nil end
  end
  package.loaded["kong.db.schema.typedefs"] = stub.typedefs
  local handler = require("kong.plugins." .. given.plugin .. ".handler")

  if not given.skip_request_phases then
    run_phase(state, handler, "rewrite", given.conf)
    run_phase(state, handler, "access", given.conf)
  end
  state.exited = false
  run_phase(state, handler, "header_filter", given.conf)
  local out = {}
  local pieces = given.pieces or { "" }
  for place, piece in ipairs(pieces) do
    ngx.arg[1], ngx.arg[2] = piece, place == #pieces
    run_phase(state, handler, "body_filter", given.conf)
    out[#out + 1] = ngx.arg[1] or ""
  end
  state.pieces, state.body = out, table.concat(out)
  return state
end

stub.typedefs = { protocols_http = {}, no_consumer = {}, no_route = {}, no_service = {} }

return stub
