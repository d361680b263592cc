-- backend-token: a secret header by which the services know the gateway (A7).
local kong = kong

local BackendToken = {
  -- In access after key-auth, acl and the limits (1250 to 910), so that what they refuse costs
  -- nothing here, and before request-termination (2). Whatever gets to a service has passed it.
  PRIORITY = 900,
  VERSION = "1.0.0",
}

-- A reference that can't be resolved comes as nothing, or as it stands in the file.
local function is_resolved(token)
  return type(token) == "string" and token ~= "" and token:sub(1, 9) ~= "{vault://"
end

function BackendToken:access(conf)
  if not is_resolved(conf.token) then
    kong.log.err("backend-token: its token is not set; is the variable in this node's environment?")
    return kong.response.exit(500, { message = "An unexpected error occurred" })
  end
  -- Sets, and so overwrites what a client may have sent.
  kong.service.request.set_header(conf.header, conf.token)
  for _, name in ipairs(conf.hide or {}) do
    kong.service.request.clear_header(name)
  end
end

return BackendToken
