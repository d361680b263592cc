-- error-envelope has nothing to configure; it acts for every request, so no consumer or route.
local typedefs = require "kong.db.schema.typedefs"

return {
  name = "error-envelope",
  fields = {
    { consumer = typedefs.no_consumer },
    { route = typedefs.no_route },
    { service = typedefs.no_service },
    { protocols = typedefs.protocols_http },
    { config = { type = "record", fields = {} } },
  },
}
