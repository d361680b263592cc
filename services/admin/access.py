"""Access: bearer tokens; who calls, and whether they may (viewers look, operators change)."""

import asyncio
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import unquote

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.params import ParameterKwarg
from litestar.types import ASGIApp, HTTPScope
from litestar.typing import FieldDefinition

from services.admin.audit.rows import Actor
from services.admin.changes import Admin
from services.admin.tokens.rows import PREFIX, Role, Token, find_token
from services.core.errors import ErrorCode, PartnerError
from services.core.external_text import check_text
from services.core.headers import OS_USER
from services.core.http.inputs import refuse, single_parameters
from services.core.http.request_scope import current_request_id

SCHEME = "bearer"
LOOKS = ("GET", "HEAD", "OPTIONS")
LOOKS_ONLY = "looks_only"  # in the `opt` of a handler of another method that changes nothing

NO_TOKEN = "Send `Authorization: Bearer` and a token of `partnerapi tokens create`"  # noqa: S105
WRONG_TOKEN = "This token is unknown or was revoked"  # noqa: S105
MAY_NOT = "This token's role is viewer, which looks and changes nothing"

FindToken = Callable[[str], Token | None]
Connection = ASGIConnection[Any, Any, Any, Any]


class BearerAuthentication(AbstractAuthenticationMiddleware):
    """Refuses requests without a token, and changes by a token that may only look."""

    def __init__(self, app: ASGIApp, *, find: FindToken) -> None:
        """`find` returns the token of a plain text, if it works; it may block."""
        super().__init__(app)
        self._find = find

    async def authenticate_request(self, connection: Connection) -> AuthenticationResult:
        """Return who calls. Raises PartnerError (401, 403)."""
        scheme, _, secret = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != SCHEME or not secret.startswith(PREFIX):
            raise _unauthorized(NO_TOKEN)
        token = await asyncio.to_thread(self._find, secret.strip())
        if token is None:
            raise _unauthorized(WRONG_TOKEN)
        if token.role != Role.OPERATOR and not _looks(connection):
            raise PartnerError(ErrorCode.FORBIDDEN, MAY_NOT)
        actor = Actor(
            f"token:{token.name}",
            current_request_id(connection.scope),
            token.id,
            os_user=unquote(connection.headers.get(OS_USER, "")) or None,
        )
        return AuthenticationResult(user=actor, auth=token)


def _looks(connection: Connection) -> bool:
    """Say whether a request changes nothing."""
    method = cast("HTTPScope", connection.scope)["method"]
    return method in LOOKS or bool(connection.route_handler.opt.get(LOOKS_ONLY))


def token_finder(admin: Admin) -> FindToken:
    """Return how tokens are found: a function, as Litestar copies what a middleware is given."""

    def find(secret: str) -> Token | None:
        with admin.reading() as connection:
            return find_token(connection, secret)

    return find


def check_parameters(connection: Connection, handler: BaseRouteHandler) -> None:
    """Raise PartnerError (400) for a query parameter that the handler can't take as it was sent.

    Litestar would drop an unknown one, so that a mistyped filter lists everything, take the last
    of two, and read `1e2` as 100.
    """
    parameters = handler.parsed_fn_signature.parameters.items()
    ours = {"request", "data", "admin", *connection.path_params}
    known = {_query_name(name, given): given for name, given in parameters if name not in ours}
    query_string = cast("HTTPScope", connection.scope)["query_string"]
    for name, value in single_parameters(query_string, sorted(known)).items():
        if known[name].annotation is int and not (value.isascii() and value.isdecimal()):
            refuse(f"`{name}` must be a whole number")


def refuse_unfit_text(connection: Connection, _handler: BaseRouteHandler) -> None:
    """Raise ExternalTextError for text of the query or the path that can't be stored.

    Before any handler: a filter that PostgreSQL can't read is no fault of the service, and what
    the audit log can't keep is refused while nothing is changed.
    """
    path = {name: text for name, text in connection.path_params.items() if isinstance(text, str)}
    for name, text in (*path.items(), *connection.query_params.multi_items()):
        check_text(name, text)


def _query_name(name: str, given: FieldDefinition) -> str:
    """Return what a parameter is called outside: `state`, say, is a word of Litestar's own."""
    said = given.kwarg_definition
    return said.name if isinstance(said, ParameterKwarg) and said.name else name


def _unauthorized(message: str) -> PartnerError:
    return PartnerError(ErrorCode.UNAUTHORIZED, message, headers={"WWW-Authenticate": "Bearer"})
