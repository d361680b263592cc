"""Tokens over HTTP; a token's plain text is in the one answer that makes it."""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request, delete, get, post
from litestar.handlers import HTTPRouteHandler

from services.admin.audit.rows import Actor
from services.admin.changes import Admin
from services.admin.pages import Listing
from services.admin.tokens.rows import (
    MadeToken,
    Role,
    Token,
    create_token,
    list_tokens,
    revoke_token,
)
from services.core.external_text import ExternalText

OperatorRequest = Request[Actor, Token, Any]


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token to make."""

    name: ExternalText
    role: Role


@get("/tokens", sync_to_thread=True, tags=["tokens"])
def list_all_tokens(admin: Admin) -> Listing[Token]:
    """List the tokens that work, by name."""
    with admin.reading() as connection:
        return Listing(list_tokens(connection), None)


@post("/tokens", sync_to_thread=True, tags=["tokens"])
def make_token(admin: Admin, request: OperatorRequest, data: NewToken) -> MadeToken:
    """Make a token; its plain text is shown this once. It ends with the one that makes it."""
    with admin.changing(request.user) as change:
        return MadeToken(*create_token(change, data.name, data.role))


@delete("/tokens/{name:str}", sync_to_thread=True, tags=["tokens"])
def end_token(admin: Admin, request: OperatorRequest, name: str) -> None:
    """Make a token invalid, and those that it made, from their next request on."""
    with admin.changing(request.user) as change:
        revoke_token(change, name)


TOKENS: Sequence[HTTPRouteHandler] = (list_all_tokens, make_token, end_token)
