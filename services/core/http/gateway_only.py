"""Gateway only: partner routes believe no request that did not come through the gateway (A7)."""

import hmac
from collections.abc import Awaitable, Callable

from litestar.types import ASGIApp, Receive, Scope, Send

from services.core import headers
from services.core.environments import Environment
from services.core.errors import ErrorCode, PartnerError
from services.core.http.request_scope import request_headers

NOT_FROM_GATEWAY = "Requests must come through the gateway"
OTHER_ENVIRONMENT = "This API key is not valid for this environment"

_TOKEN = headers.BACKEND_TOKEN.lower().encode()
_ANONYMOUS = headers.ANONYMOUS_CONSUMER.lower().encode()
_CUSTOM_ID = headers.CONSUMER_CUSTOM_ID.lower().encode()
_CREDENTIAL = headers.CREDENTIAL_IDENTIFIER.lower().encode()


class GatewayOnly:
    """Wraps a handler; refuses what the gateway did not vouch for with its token."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        environment: Environment,
        note_key: Callable[[bytes], None],
    ) -> None:
        """Take what the gateway may put into X-Backend-Token, and who notes keys' uses.

        `token` is one secret, or several with commas between while one replaces the other.
        """
        self._app = app
        self._tokens = token.encode().split(b",")
        self._suffix = environment.custom_id("").encode()
        self._note_key = note_key

    # Not async: it hands on what the app returns. One coroutine fewer for each request.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass the request on, or raise PartnerError."""
        given = request_headers(scope)
        self._note_key(self._checked_credential(given))
        return self._app(scope, receive, send)

    def _checked_credential(self, given: dict[bytes, bytes]) -> bytes:
        """Return the id of the key that the gateway has let in. Raises PartnerError."""
        # A client can have a hop drop a header that the gateway adds, by naming it in Connection.
        credential = given.get(_CREDENTIAL, b"")
        if not self._is_ours(given.get(_TOKEN, b"")) or _ANONYMOUS in given or not credential:
            raise PartnerError(ErrorCode.FORBIDDEN, NOT_FROM_GATEWAY)
        custom_id = given.get(_CUSTOM_ID, b"")
        if custom_id == self._suffix or not custom_id.endswith(self._suffix):
            raise PartnerError(ErrorCode.FORBIDDEN, OTHER_ENVIRONMENT)
        return credential

    def _is_ours(self, token: bytes) -> bool:
        """Say whether a token is one of ours. Each comparison takes the same time."""
        for ours in self._tokens:  # noqa: SIM110 -- a generator would cost more than a comparison
            if hmac.compare_digest(token, ours):
                return True
        return False
