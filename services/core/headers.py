"""Core: the names of headers, and of a media type, that programs agree on (KONG.md)."""

import re

API_KEY = "X-API-Key"
BACKEND_TOKEN = "X-Backend-Token"  # noqa: S105 -- the header's name, not a token
REQUEST_ID = "X-Request-ID"
OS_USER = "X-OS-User"  # percent-encoded; who runs `partnerapi`, as their machine says
CONSUMER_CUSTOM_ID = "X-Consumer-Custom-ID"
ANONYMOUS_CONSUMER = "X-Anonymous-Consumer"
CREDENTIAL_IDENTIFIER = "X-Credential-Identifier"

# The media type of an answer that reports progress: JSON documents, a line each.
JSON_LINES = "application/x-ndjson"

# A caller's own request id is kept when it looks like this; gateway/plugins/error-envelope agrees.
REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")
