"""error-envelope: each of the gateway's own errors as {code, message, request_id} (A5); ours.

gateway/plugins/kong/plugins/error-envelope does the same in Kong; a test compares the two tables.
"""

import uuid

from services.core.errors import SUSPENDED_MESSAGE, ErrorCode, envelope
from services.core.headers import API_KEY, REQUEST_ID, REQUEST_ID_PATTERN
from services.local.gateway.exchange import Exchange
from services.local.gateway.fields import Values
from services.local.gateway.plugins.base import Plugin, Surroundings
from services.local.gateway.responses import JSON, Response
from services.policy.precedence import Scope
from services.policy.render import SUSPENDED_TAG

NO_KEY_MESSAGE = "No API key: send it in the X-API-Key header"
UNKNOWN_KEY_MESSAGE = "Unknown API key"
SEVERAL_KEYS_MESSAGE = "Send one X-API-Key header, not several"

# By the status that Kong gives.
ANSWERS: dict[int, tuple[ErrorCode, str]] = {
    400: (ErrorCode.INVALID_REQUEST, "The request is malformed"),
    401: (ErrorCode.UNAUTHORIZED, UNKNOWN_KEY_MESSAGE),
    403: (ErrorCode.FORBIDDEN, "This API key is not valid for this environment"),
    404: (ErrorCode.NOT_FOUND, "No such path"),
    405: (ErrorCode.METHOD_NOT_ALLOWED, "Method not allowed"),
    413: (ErrorCode.PAYLOAD_TOO_LARGE, "The request body is too large"),
    414: (ErrorCode.URI_TOO_LONG, "The URI is too long"),
    429: (
        ErrorCode.RATE_LIMITED,
        "Rate limit exceeded: try again after the seconds in Retry-After",
    ),
    500: (ErrorCode.INTERNAL_ERROR, "An unexpected error occurred"),
    501: (ErrorCode.INVALID_REQUEST, "Only the transfer coding chunked is supported"),
    502: (ErrorCode.BAD_GATEWAY, "The service behind the gateway did not answer properly"),
    503: (ErrorCode.SERVICE_UNAVAILABLE, "The service is not available; try again"),
    504: (ErrorCode.GATEWAY_TIMEOUT, "The service behind the gateway took too long"),
    505: (ErrorCode.INVALID_REQUEST, "Only HTTP/1.0 and HTTP/1.1 are supported"),
}

# 403 for a consumer with SUSPENDED_TAG, which the renderer gives a suspended partner.
SUSPENDED = (ErrorCode.PARTNER_SUSPENDED, SUSPENDED_MESSAGE)

# request-size-limiting answers 417 to a client that asked first (Expect: 100-continue). Such a
# client would just send the body then; 413 says why not to. nginx answers 501 to a
# Transfer-Encoding other than chunked and 505 to HTTP/2.0 and later: the caller's faults, not ours.
STATUS_INSTEAD = {417: 413, 501: 400, 505: 400}

_REQUEST_ID = REQUEST_ID.lower().encode()
_API_KEY = API_KEY.lower().encode()


class ErrorEnvelope(Plugin):
    """Shapes errors, whichever plugin ends the request; only the request id is made before."""

    def __init__(self, config: Values, scope: Scope[str], surroundings: Surroundings) -> None:
        del config, scope, surroundings

    def rewrite(self, exchange: Exchange) -> None:
        ids = exchange.values(_REQUEST_ID)
        if ids and not (len(ids) == 1 and REQUEST_ID_PATTERN.fullmatch(ids[0].decode("latin-1"))):
            exchange.set_header(_REQUEST_ID, str(uuid.uuid4()).encode())

    def header_filter(self, exchange: Exchange, response: Response) -> None:
        if response.from_service or response.status < 400:
            return
        code, message = answer_for(response.status)
        response.status = STATUS_INSTEAD.get(response.status, response.status)
        request_id = response.header(_REQUEST_ID) or exchange.kong_request_id.encode()
        if response.status == 401:
            message = _of_keys(exchange)
            response.set_header(b"www-authenticate", b"Key")
        elif response.status == 403 and _is_suspended(exchange):
            code, message = SUSPENDED
        response.body = envelope(code, message, request_id.decode("latin-1"))
        response.set_header(_REQUEST_ID, request_id)
        response.set_header(b"content-type", JSON)


def answer_for(status: int) -> tuple[ErrorCode, str]:
    """Return the code and message that go with a status of 400 or more, as Kong gives it."""
    instead = STATUS_INSTEAD.get(status, status)
    return ANSWERS.get(status) or ANSWERS.get(instead) or ANSWERS[400 if instead < 500 else 500]


def _is_suspended(exchange: Exchange) -> bool:
    return exchange.consumer is not None and SUSPENDED_TAG in exchange.consumer.tags


def _of_keys(exchange: Exchange) -> str:
    keys = exchange.values(_API_KEY)
    if len(keys) > 1:
        return SEVERAL_KEYS_MESSAGE
    return UNKNOWN_KEY_MESSAGE if any(keys) else NO_KEY_MESSAGE
