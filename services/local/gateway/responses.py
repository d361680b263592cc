"""Responses: the gateway's own answers, in Kong's words, before a plugin shapes them."""

import re
from typing import NamedTuple

VERSION = b"kong/3.9.3"  # the release whose behaviour this is
JSON = b"application/json; charset=utf-8"

WITHOUT_BODY = frozenset((204, 304))  # statuses
HeaderList = list[tuple[bytes, bytes]]

_UNSAFE = re.compile(r'["\\\x00-\x1f]')


class Answer(NamedTuple):
    """An answer that the gateway gives instead of the service."""

    status: int
    message: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


NO_ROUTE = Answer(404, "no Route matched with those values")
BAD_REQUEST = Answer(400, "Bad request")
NOT_ALLOWED = Answer(405, "Method not allowed")
URI_TOO_LONG = Answer(414, "URI too long")
NOT_IMPLEMENTED = Answer(501, "Not implemented")
UNSUPPORTED_VERSION = Answer(505, "HTTP version not supported")
UNEXPECTED = Answer(500, "An unexpected error occurred")
INVALID_UPSTREAM = Answer(502, "An invalid response was received from the upstream server")
NO_SUCH_NAME = Answer(503, "name resolution failed")
NO_TARGET = Answer(503, "failure to get a peer from the ring-balancer")
UPSTREAM_TIMEOUT = Answer(504, "The upstream server is timing out")

MALFORMED = {
    answer.status: answer
    for answer in (BAD_REQUEST, NOT_ALLOWED, URI_TOO_LONG, NOT_IMPLEMENTED, UNSUPPORTED_VERSION)
}


class Response:
    """An answer on its way to the caller; plugins set headers, and the body if it is ours."""

    __slots__ = ("body", "from_service", "headers", "replaced", "status")

    def __init__(
        self, status: int, headers: HeaderList, body: bytes = b"", *, from_service: bool
    ) -> None:
        self.status = status
        self.headers = headers  # names in lower case
        self.body = body
        self.from_service = from_service
        self.replaced: dict[bytes, bytes] = {}

    def set_header(self, name: bytes, value: bytes) -> None:
        """Set a header (name in lower case) in place of any of that name."""
        self.replaced[name] = value

    def header(self, name: bytes) -> bytes | None:
        """Return the header that goes out under a name."""
        return self.replaced.get(name) or dict(self.headers).get(name)

    def final_headers(self) -> HeaderList:
        """Return the headers to send."""
        replaced = self.replaced
        return [*(pair for pair in self.headers if pair[0] not in replaced), *replaced.items()]


def own_response(answer: Answer, kong_request_id: str) -> Response:
    """Return an answer of the gateway's own with Kong's default body."""
    message = _UNSAFE.sub("?", answer.message)
    body = f'{{\n  "message":"{message}",\n  "request_id":"{kong_request_id}"\n}}'.encode()
    headers = [(b"server", VERSION), (b"x-kong-request-id", kong_request_id.encode())]
    response = Response(answer.status, headers, body, from_service=False)
    response.set_header(b"content-type", JSON)
    response.replaced.update(answer.headers)
    return response
