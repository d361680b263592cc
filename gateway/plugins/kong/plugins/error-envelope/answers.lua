-- What a partner reads for each of the gateway's own errors (A5): Kong's status -> code and message.
-- services/local/gateway/plugins/error_envelope.py says the same; a test compares the two, and
-- the codes with services/core/errors.py.
return {
  NO_KEY = "No API key: send it in the X-API-Key header",
  UNKNOWN_KEY = "Unknown API key",
  SEVERAL_KEYS = "Send one X-API-Key header, not several",

  -- 403 for a consumer with this tag, which admin renders for a suspended partner.
  SUSPENDED_TAG = "suspended",
  SUSPENDED = {
    "PARTNER_SUSPENDED", "This partner account is suspended: ask your contact at our company",
  },

  by_status = {
    [400] = { "INVALID_REQUEST", "The request is malformed" },
    [401] = { "UNAUTHORIZED", "Unknown API key" },
    [403] = { "FORBIDDEN", "This API key is not valid for this environment" },
    [404] = { "NOT_FOUND", "No such path" },
    [405] = { "METHOD_NOT_ALLOWED", "Method not allowed" },
    [413] = { "PAYLOAD_TOO_LARGE", "The request body is too large" },
    [414] = { "URI_TOO_LONG", "The URI is too long" },
    [429] = { "RATE_LIMITED", "Rate limit exceeded: try again after the seconds in Retry-After" },
    [500] = { "INTERNAL_ERROR", "An unexpected error occurred" },
    [501] = { "INVALID_REQUEST", "Only the transfer coding chunked is supported" },
    [502] = { "BAD_GATEWAY", "The service behind the gateway did not answer properly" },
    [503] = { "SERVICE_UNAVAILABLE", "The service is not available; try again" },
    [504] = { "GATEWAY_TIMEOUT", "The service behind the gateway took too long" },
    [505] = { "INVALID_REQUEST", "Only HTTP/1.0 and HTTP/1.1 are supported" },
  },

  -- request-size-limiting answers 417 to a client that asked first (Expect: 100-continue). Such a
  -- client would just send the body then; 413 tells it why not to. nginx answers 501 to a
  -- Transfer-Encoding other than chunked and 505 to HTTP/2.0 and later: the caller's faults, not ours.
  status_instead = { [417] = 413, [501] = 400, [505] = 400 },
}
