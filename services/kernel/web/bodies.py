"""Bodies: read a JSON request body, no more of it than is allowed."""

import re

from litestar.types import Receive, Scope

from services.kernel.errors import PartnerError
from services.kernel.web.failures import REFUSALS
from services.kernel.web.request_scope import request_headers

BODY_LIMIT = 64 * 1024  # bytes; 100 ids of 64 four-byte characters, escaped, are below it

_JSON = re.compile(rb'application/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?', re.IGNORECASE)


class ClientGoneError(Exception):
    """The caller went away before the whole body was here; there is nobody to answer."""


async def read_json_body(scope: Scope, receive: Receive) -> bytes:
    """Return the body of a request that says it is JSON, not yet decoded.

    Raises PartnerError (413, 415) and ClientGoneError.
    """
    given = request_headers(scope)
    content_type = given.get(b"content-type", b"")
    if content_type != b"application/json" and not _JSON.fullmatch(content_type.strip()):
        raise PartnerError(*REFUSALS[415])
    # The server has checked that the length is a number; it may be absent from a chunked body.
    if int(given.get(b"content-length", b"0")) > BODY_LIMIT:
        raise PartnerError(*REFUSALS[413])
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGoneError
        body += message["body"]
        if len(body) > BODY_LIMIT:
            raise PartnerError(*REFUSALS[413])
        if not message["more_body"]:
            return body
