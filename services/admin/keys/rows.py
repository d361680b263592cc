"""Keys: the rows of control.api_keys, listed and found; the sealed key is not read here (A2)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec
from psycopg import Connection
from psycopg.rows import TupleRow

from services.admin.gateway.node_sync import NodeReport
from services.admin.pages import Listing, Page, listing
from services.admin.partners.rows import read_partner
from services.admin.refusals import ConflictError, InvalidError, NotFoundError
from services.core.environments import Environment
from services.core.rows import struct_row
from services.domain.key_form import SHOWN_LENGTH, fingerprint, shown_part


class KeyState(StrEnum):
    """What a key is; a revoked one never works again."""

    WORKING = "working"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Key(msgspec.Struct, frozen=True):
    """A key as it may be shown."""

    id: UUID
    partner: str
    environment: Environment
    shown: str  # its first 12 characters
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: UUID | None  # the key that a rotation made
    last_used_at: datetime | None  # to a minute
    state: KeyState


@dataclass(frozen=True)
class NewKey:
    """A key just made: the one time that its secret is seen."""

    key: Key
    secret: str = field(repr=False)  # representations end in logs and tracebacks

    @property
    def id(self) -> UUID:
        """The key's id, which is its credential's id at the gateway."""
        return self.key.id

    @property
    def shown(self) -> str:
        """The part that may be shown again."""
        return self.key.shown


class ChangedKey(msgspec.Struct, frozen=True):
    """A key after a change, and what the gateway's nodes run."""

    key: Key
    gateway: list[NodeReport]


class MadeKey(ChangedKey, frozen=True, kw_only=True):
    """A key just made, with its plain text."""

    secret: str

    def __repr__(self) -> str:
        """Leave the secret out: representations end in logs and tracebacks."""
        return f"{type(self).__name__}(key={self.key!r})"


class RotatedKey(MadeKey, frozen=True, kw_only=True):
    """A key just made, with the key that it replaces."""

    replaced: Key


class KeyFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which keys are listed; None: whichever."""

    partner: str | None = None
    environment: Environment | None = None
    state: KeyState | None = None
    prefix: str | None = None  # the first characters, 12 at most


# Last uses are looked up for the rows of the page, not for all keys.
SELECT_KEYS = """
WITH keys AS (
    SELECT api_keys.*, partners.name AS partner, CASE
        WHEN revoked_at IS NOT NULL THEN 'revoked'
        WHEN expires_at <= now() THEN 'expired'
        ELSE 'working' END AS state
    FROM control.api_keys JOIN control.partners ON partners.id = partner_id
), found AS (
    SELECT * FROM keys
    WHERE (%(fingerprint)s::text IS NULL
            OR id = %(id)s OR fingerprint = %(fingerprint)s OR shown = %(shown)s)
        AND (%(partner)s::text IS NULL OR partner = %(partner)s)
        AND (%(environment)s::text IS NULL OR environment = %(environment)s)
        AND (%(state)s::text IS NULL OR state = %(state)s)
        AND (%(prefix)s::text IS NULL OR starts_with(shown, %(prefix)s))
        AND (%(after_at)s::timestamptz IS NULL
            OR (created_at, id) < (%(after_at)s, %(after_id)s::uuid))
    ORDER BY created_at DESC, id DESC LIMIT %(limit)s
)
SELECT found.id, found.partner, found.environment, found.shown, found.created_at,
    found.expires_at, found.revoked_at, found.replaced_by, found.state,
    coalesce(live.last_used_at, sandbox.last_used_at) AS last_used_at
FROM found
LEFT JOIN live.key_uses AS live ON found.environment = 'live' AND live.key_id = found.id
LEFT JOIN sandbox.key_uses AS sandbox
    ON found.environment = 'sandbox' AND sandbox.key_id = found.id
ORDER BY found.created_at DESC, found.id DESC
"""

# None of them: every key. One is found by its id, by its shown part or by the key itself.
UNFILTERED = dict.fromkeys(
    (*KeyFilter.__struct_fields__, "id", "fingerprint", "shown", "after_at", "after_id", "limit")
)


def _select(connection: Connection[TupleRow], values: Mapping[str, object]) -> list[Key]:
    # Planned for these very filters each time: one plan for all of them would be slow for most.
    cursor = connection.cursor(row_factory=struct_row(Key))
    return cursor.execute(SELECT_KEYS, {**UNFILTERED, **values}, prepare=False).fetchall()


def list_keys(connection: Connection[TupleRow], wanted: KeyFilter, page: Page) -> Listing[Key]:
    """Return keys, newest first. Raises RefusedError, also for a partner that there is not."""
    if wanted.prefix is not None:
        _require_short(wanted.prefix)
    if wanted.partner is not None:
        read_partner(connection, wanted.partner)
    after_at, after_id = (None, None) if page.after is None else _position(page.after)
    values = {
        **msgspec.structs.asdict(wanted),
        "after_at": after_at,
        "after_id": after_id,
        "limit": page.limit + 1,
    }
    rows = _select(connection, values)
    return listing(rows, page, lambda key: f"{key.created_at.isoformat()} {key.id}")


def _require_short(prefix: str) -> None:
    if len(prefix) > SHOWN_LENGTH:  # never repeated: it may be a whole key
        msg = f"`prefix`: at most the first {SHOWN_LENGTH} characters of a key, never all of it"
        raise InvalidError(msg)


def _position(after: str) -> tuple[datetime, UUID]:
    at, _, key_id = after.partition(" ")
    try:
        position = datetime.fromisoformat(at), UUID(key_id)
    except ValueError:
        position = None
    if position is None or position[0].tzinfo is None:
        msg = "`cursor` is none of this list's: send `next_cursor` of the page before"
        raise InvalidError(msg)
    return position


FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def find_key(connection: Connection[TupleRow], name: str) -> Key:
    """Return the one key of this id, shown part, plain text or fingerprint.

    Of several with the same shown part it is the one that is not revoked, if that is one. Raises
    NotFoundError, and ConflictError when it may be one or another.
    """
    is_fingerprint = FINGERPRINT.fullmatch(name) is not None
    values = {
        "id": _id_of(name),
        "fingerprint": name if is_fingerprint else fingerprint(name),
        "shown": name,
    }
    found = _select(connection, values)
    if len(found) > 1:
        found = [key for key in found if key.state != KeyState.REVOKED] or found
    if len(found) == 1:
        return found[0]
    # What is longer than the shown part may be a key, mistyped or in full: it is not repeated.
    named = name if len(name) <= SHOWN_LENGTH or _id_of(name) else shown_part(name) + "..."
    if is_fingerprint:
        named = f"with the fingerprint {named}"
    if not found:
        msg = f"there is no key {named}: name it by its id or its first {SHOWN_LENGTH} characters"
        raise NotFoundError(msg)
    ids = ", ".join(str(key.id) for key in found)
    msg = f"{len(found)} keys begin with {named}: name one by its id: {ids}"
    raise ConflictError(msg)


def _id_of(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None
