"""Audit: who changed what; a row of control.audit in the transaction of each change.

The database role of admin may add rows and read them, and nothing else.
"""

from datetime import datetime
from uuid import UUID

import msgspec
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from services.admin.audit.system_user import OS_USER_MOST
from services.admin.pages import Listing, Page, cursor_id, listing
from services.core.external_text import check_text
from services.core.headers import OS_USER
from services.core.rows import struct_row


class Actor(msgspec.Struct, frozen=True):
    """Who acts: `token:NAME` over HTTP, `cli` for a command that uses the database itself.

    Raises ExternalTextError for text that the audit log can't keep, before anything is changed.
    """

    name: str
    request_id: str | None = None
    token_id: UUID | None = None  # of the token that was sent; None: a command
    os_user: str | None = None  # who runs the command, as their machine says: nobody verifies it

    def __post_init__(self) -> None:
        """Check what others chose: an entry is one line."""
        check_text("actor", self.name)
        if self.os_user is not None:
            check_text(OS_USER, self.os_user, most=OS_USER_MOST)


class AuditEntry(msgspec.Struct, frozen=True):
    """One change. `before` and `after` show what changed, secrets by their first characters."""

    id: UUID
    at: datetime
    actor: str
    action: str
    target: str
    before: dict[str, object] | None
    after: dict[str, object] | None
    request_id: str | None
    os_user: str | None  # who ran the command, as their machine said: unverified


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are listed; None: whatever they say."""

    actor: str | None = None
    action: str | None = None  # `key.revoked`, or `key` for all that begin with `key.`
    target: str | None = None  # likewise: `partner:techmart`, or `partner`
    since: datetime | None = None
    until: datetime | None = None


INSERT_ENTRY = """
INSERT INTO control.audit (actor, action, target, before, after, request_id, os_user)
VALUES (%(actor)s, %(action)s, %(target)s, %(before)s, %(after)s, %(request_id)s, %(os_user)s)
RETURNING id
"""


def record(
    connection: Connection[TupleRow],
    actor: Actor,
    action: str,
    target: str,
    *,
    before: object = None,
    after: object = None,
) -> UUID:
    """Note a change in its own transaction; `before` and `after` are Structs or dicts.

    Returns the entry's id.
    """
    values = {
        "actor": actor.name,
        "action": action,
        "target": target,
        "before": _document(before),
        "after": _document(after),
        "request_id": actor.request_id,
        "os_user": actor.os_user,
    }
    (row,) = connection.execute(INSERT_ENTRY, values).fetchall()
    return row[0]


def _document(given: object) -> Jsonb | None:
    return None if given is None else Jsonb(msgspec.to_builtins(given))


SELECT_ENTRIES = """
SELECT id, at, actor, action, target, before, after, request_id, os_user
FROM control.audit
WHERE (%(actor)s::text IS NULL OR actor = %(actor)s)
    AND (%(action)s::text IS NULL OR action = %(action)s OR starts_with(action, %(action)s || '.'))
    AND (%(target)s::text IS NULL OR target = %(target)s OR starts_with(target, %(target)s || ':'))
    AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
    AND (%(after)s::uuid IS NULL OR id < %(after)s)
ORDER BY id DESC LIMIT %(limit)s
"""


def list_entries(
    connection: Connection[TupleRow], wanted: AuditFilter, page: Page
) -> Listing[AuditEntry]:
    """Return entries, newest first."""
    cursor = connection.cursor(row_factory=struct_row(AuditEntry))
    values = {**msgspec.structs.asdict(wanted), "after": cursor_id(page), "limit": page.limit + 1}
    rows = cursor.execute(SELECT_ENTRIES, values).fetchall()
    return listing(rows, page, lambda entry: entry.id)
