-- backend-token's configuration: which header, and the secret or a reference to it.
local typedefs = require "kong.db.schema.typedefs"

return {
  name = "backend-token",
  fields = {
    { protocols = typedefs.protocols_http },
    {
      config = {
        type = "record",
        fields = {
          { header = { type = "string", required = true, len_min = 1 } },
          -- referenceable: "{vault://env/backend-token}" is read from BACKEND_TOKEN.
          { token = { type = "string", required = true, referenceable = true } },
          -- Headers that the service must not see, where no key-auth hides them.
          { hide = { type = "array", elements = { type = "string" }, default = {} } },
        },
      },
    },
  },
}
