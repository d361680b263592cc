"""Tokens: who may call admin's HTTP API; the rows of control.tokens, stored by fingerprint."""

import hashlib
import re
import secrets
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec
from psycopg import Connection, errors
from psycopg.rows import TupleRow, class_row

from services.admin.changes import Change
from services.admin.refusals import ConflictError, InvalidError, NotFoundError

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


INSERT_ONE = """
INSERT INTO control.tokens (name, role, fingerprint)
VALUES (%(name)s, %(role)s, %(fingerprint)s)
RETURNING id, name, role, created_at
"""


def create_token(change: Change, name: str, role: Role) -> tuple[Token, str]:
    """Make a token; return it and its plain text, which is seen this once. Raises RefusedError."""
    if not NAME_FORM.fullmatch(name):
        # Looked at here: PostgreSQL's log has the whole row of a check that fails, and people do
        # paste a secret into the wrong field.
        msg = "name: 2 to 40 characters, lower-case letters, digits and hyphens, first a letter"
        raise InvalidError(msg)
    secret = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    values = {"name": name, "role": role, "fingerprint": fingerprint(secret)}
    cursor = change.connection.cursor(row_factory=class_row(Token))
    try:
        token = cursor.execute(INSERT_ONE, values).fetchone()
    except errors.UniqueViolation as exc:
        msg = f"there is a token {name} already: revoke it first, or choose another name"
        raise ConflictError(msg) from exc
    assert token is not None  # noqa: S101 -- RETURNING of one inserted row
    change.record("token.created", f"token:{name}", after={"role": role})
    return token, secret


SELECT_ALL = """
SELECT id, name, role, created_at FROM control.tokens WHERE revoked_at IS NULL ORDER BY name
"""


def list_tokens(connection: Connection[TupleRow]) -> list[Token]:
    """Return the tokens that work; people make a handful."""
    return connection.cursor(row_factory=class_row(Token)).execute(SELECT_ALL).fetchall()


REVOKE_ONE = """
UPDATE control.tokens SET revoked_at = now() WHERE name = %(name)s AND revoked_at IS NULL
RETURNING id, name, role, created_at
"""


def revoke_token(change: Change, name: str) -> Token:
    """Make a token invalid from now on. Raises NotFoundError."""
    cursor = change.connection.cursor(row_factory=class_row(Token))
    token = cursor.execute(REVOKE_ONE, {"name": name}).fetchone()
    if token is None:
        msg = f"there is no token {name}: `partnerapi tokens list` shows them"
        raise NotFoundError(msg)
    change.record("token.revoked", f"token:{name}", before={"role": token.role})
    return token


FIND_ONE = """
SELECT id, name, role, created_at FROM control.tokens
WHERE fingerprint = %(fingerprint)s AND revoked_at IS NULL
"""


def find_token(connection: Connection[TupleRow], secret: str) -> Token | None:
    """Return the token of this plain text, if it works."""
    cursor = connection.cursor(row_factory=class_row(Token))
    return cursor.execute(FIND_ONE, {"fingerprint": fingerprint(secret)}).fetchone()


def fingerprint(secret: str) -> str:
    """Return what a token is looked up by: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()
