"""Bodies: the one reader of request bodies, which refuses what it can't take by name."""

import re
from collections.abc import AsyncGenerator, Mapping

from litestar.types import Receive, ReceiveMessage, Scope

from services.core.errors import ErrorCode, PartnerError
from services.core.http.failures import REFUSALS
from services.core.http.inputs import refuse, shown
from services.core.http.request_scope import request_headers

BODY_LIMIT = 128 * 1024  # bytes; 100 ids of 64 four-byte characters, all escaped, are 77 kB
ENCODED = "The Content-Encoding {} is not supported: send the body as it is"
MALFORMED_BODY = "malformed_body"  # in the scope of a request whose chunks broke off

_JSON = re.compile(rb'application/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?', re.IGNORECASE)


class ClientGoneError(PartnerError):
    """The caller went away before the whole body was here; there is nobody to answer."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.INVALID_REQUEST, "The connection ended before the body")


async def read_json_body(scope: Scope, receive: Receive) -> bytes:
    """Return the body of a request that says it is JSON, not yet decoded.

    Raises PartnerError (400, 413, 415) and ClientGoneError.
    """
    given = request_headers(scope)
    content_type = given.get(b"content-type", b"")
    if content_type != b"application/json" and not _JSON.fullmatch(content_type.strip()):
        raise PartnerError(*REFUSALS[415])
    _check_headers(given, BODY_LIMIT)
    body, more = b"", True
    while more:
        part, more = _next_part(scope, await receive())
        body += part
        if len(body) > BODY_LIMIT:
            raise PartnerError(*REFUSALS[413])
    return body


async def body_parts(scope: Scope, receive: Receive, *, limit: int) -> AsyncGenerator[bytes]:
    """Yield the parts of a body of at most `limit` bytes as they come.

    Raises PartnerError (400, 413, 415) and ClientGoneError.
    """
    _check_headers(request_headers(scope), limit)
    size, more = 0, True
    while more:
        part, more = _next_part(scope, await receive())
        size += len(part)
        if size > limit:
            raise PartnerError(*REFUSALS[413])
        yield part


def has_body(scope: Scope) -> bool:
    """Say whether a body was sent, be it of no JSON."""
    given = request_headers(scope)
    return b"transfer-encoding" in given or given.get(b"content-length", b"0") != b"0"


def _check_headers(given: Mapping[bytes, bytes], limit: int) -> None:
    coding = given.get(b"content-encoding")
    if coding is not None and coding.lower() != b"identity":
        named = shown(coding.decode("latin-1"))
        raise PartnerError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, ENCODED.format(named))
    # The server has checked that the length is a number; it may be absent from a chunked body.
    if int(given.get(b"content-length", b"0")) > limit:
        raise PartnerError(*REFUSALS[413])


def _next_part(scope: Scope, message: ReceiveMessage) -> tuple[bytes, bool]:
    """Return a part of a body, and whether more is to come."""
    if message["type"] != "http.request":
        raise ClientGoneError
    if MALFORMED_BODY in scope:
        refuse("The body can't be read: its chunks are malformed")
    return message["body"], message["more_body"]
