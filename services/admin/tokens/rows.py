"""Tokens: who may call admin's HTTP API; the rows of control.tokens, stored by fingerprint."""

import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import LiteralString
from uuid import UUID

import msgspec
from psycopg import Connection, errors
from psycopg.rows import TupleRow

from services.admin.changes import Change
from services.admin.refusals import ConflictError, InvalidError, NotFoundError
from services.core.rows import struct_row
from services.domain.key_form import fingerprint

PREFIX = "padm_"
RANDOM_BYTES = 24  # 192 bits: unguessable, so an unsalted fingerprint is enough

NAME_FORM = re.compile(r"[a-z][a-z0-9-]{1,39}")  # as the schema's check has it


class Role(StrEnum):
    """What a token's holder may do; the schema's check lists the same."""

    OPERATOR = "operator"  # everything
    VIEWER = "viewer"  # look, and change nothing


class Token(msgspec.Struct, frozen=True):
    """A token as it may be shown."""

    id: UUID
    name: str
    role: Role
    created_at: datetime
    made_by: str | None  # the token that made it, with which it ends; None: made in the database


class MadeToken(msgspec.Struct, frozen=True):
    """A token just made, with its plain text."""

    token: Token
    secret: str

    def __repr__(self) -> str:
        """Leave the secret out: representations end in logs and tracebacks."""
        return f"MadeToken(token={self.token!r})"


# One at a time makes or revokes tokens: none is made with a token that is just being revoked.
TAKE_TURNS = "LOCK TABLE control.tokens IN SHARE ROW EXCLUSIVE MODE"

FIND_MAKER = "SELECT FROM control.tokens WHERE id = %(made_by)s AND revoked_at IS NULL"

INSERT_ONE = """
INSERT INTO control.tokens (name, role, fingerprint, made_by)
VALUES (%(name)s, %(role)s, %(fingerprint)s, %(made_by)s)
RETURNING tokens.id, tokens.name, tokens.role, tokens.created_at,
    (SELECT makers.name FROM control.tokens AS makers WHERE makers.id = tokens.made_by) AS made_by
"""


def create_token(change: Change, name: str, role: Role) -> tuple[Token, str]:
    """Make a token; return it and its plain text, which is seen this once. Raises RefusedError.

    One that is made with another token ends with it.
    """
    if not NAME_FORM.fullmatch(name):
        # Looked at here: PostgreSQL's log has the whole row of a check that fails, and people do
        # paste a secret into the wrong field.
        msg = "name: 2 to 40 characters, lower-case letters, digits and hyphens, first a letter"
        raise InvalidError(msg)
    secret = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    made_by = change.actor.token_id
    values = {"name": name, "role": role, "fingerprint": fingerprint(secret), "made_by": made_by}
    change.connection.execute(TAKE_TURNS)
    if made_by and change.connection.execute(FIND_MAKER, values).fetchone() is None:
        msg = "the token that makes this one was revoked meanwhile"
        raise ConflictError(msg)
    try:
        (token,) = _tokens(change.connection, INSERT_ONE, values)
    except errors.UniqueViolation as exc:
        msg = f"there is a token {name} already: revoke it first, or choose another name"
        raise ConflictError(msg) from exc
    change.record("token.created", f"token:{name}", after={"role": role})
    return token, secret


SELECT_ALL = """
SELECT tokens.id, tokens.name, tokens.role, tokens.created_at,
    (SELECT makers.name FROM control.tokens AS makers WHERE makers.id = tokens.made_by) AS made_by
FROM control.tokens WHERE revoked_at IS NULL ORDER BY name
"""


def list_tokens(connection: Connection[TupleRow]) -> list[Token]:
    """Return the tokens that work; people make a handful."""
    return _tokens(connection, SELECT_ALL, {})


REVOKE = """
WITH RECURSIVE ending AS (
    SELECT id FROM control.tokens WHERE name = %(name)s AND revoked_at IS NULL
    UNION SELECT tokens.id FROM control.tokens JOIN ending ON tokens.made_by = ending.id
)
UPDATE control.tokens SET revoked_at = now()
FROM ending WHERE tokens.id = ending.id AND revoked_at IS NULL
RETURNING tokens.id, tokens.name, tokens.role, tokens.created_at,
    (SELECT makers.name FROM control.tokens AS makers WHERE makers.id = tokens.made_by) AS made_by
"""


def revoke_token(change: Change, name: str) -> tuple[Token, list[Token]]:
    """Make a token invalid from now on, and those that it made: its holder may have them.

    Returns it and them. Raises NotFoundError.
    """
    change.connection.execute(TAKE_TURNS)
    revoked = _tokens(change.connection, REVOKE, {"name": name})
    if not revoked:
        msg = f"there is no token {name}: `partnerapi tokens list` shows them"
        raise NotFoundError(msg)
    for token in revoked:
        before = {"role": token.role, "made_by": token.made_by}
        change.record("token.revoked", f"token:{token.name}", before=before)
    (named,) = [token for token in revoked if token.name == name]
    return named, [token for token in revoked if token is not named]


FIND_ONE = """
SELECT tokens.id, tokens.name, tokens.role, tokens.created_at,
    (SELECT makers.name FROM control.tokens AS makers WHERE makers.id = tokens.made_by) AS made_by
FROM control.tokens WHERE fingerprint = %(fingerprint)s AND revoked_at IS NULL
"""


def find_token(connection: Connection[TupleRow], secret: str) -> Token | None:
    """Return the token of this plain text, if it works."""
    found = _tokens(connection, FIND_ONE, {"fingerprint": fingerprint(secret)})
    return found[0] if found else None


def _tokens(
    connection: Connection[TupleRow], statement: LiteralString, values: Mapping[str, object]
) -> list[Token]:
    return connection.cursor(row_factory=struct_row(Token)).execute(statement, values).fetchall()
