"""Partners: the rows of control.partners, listed and found, with how many of their keys work."""

from datetime import datetime
from typing import NoReturn
from uuid import UUID

import msgspec
from psycopg import Connection
from psycopg.rows import TupleRow

from services.admin.gateway.node_sync import NodeReport
from services.admin.pages import Listing, Page, listing
from services.admin.refusals import NotFoundError
from services.core.environments import Environment
from services.core.rows import struct_row
from services.domain.states import PartnerState


class Partner(msgspec.Struct, frozen=True):
    """A partner of both environments."""

    id: UUID
    name: str
    tier: str
    contact: str
    state: PartnerState
    created_at: datetime
    keys: dict[Environment, int]  # how many work now


class ChangedPartner(msgspec.Struct, frozen=True):
    """A partner after a change (a deleted one: before), and what the gateway's nodes run."""

    partner: Partner
    gateway: list[NodeReport] | None  # null: nothing changed for the gateway


class PartnerFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which partners are listed; None: whichever."""

    search: str | None = None  # a part of the name or the contact, in small or capital letters
    tier: str | None = None
    state: PartnerState | None = None


# Keys are counted for the rows of the page, not for all partners.
SELECT_PARTNERS = """
WITH found AS (
    SELECT id, name, tier, contact, state, created_at FROM control.partners
    WHERE (%(name)s::text IS NULL OR name = %(name)s)
        AND (%(search)s::text IS NULL OR position(lower(%(search)s) IN lower(name)) > 0
            OR position(lower(%(search)s) IN lower(contact)) > 0)
        AND (%(tier)s::text IS NULL OR tier = %(tier)s)
        AND (%(state)s::text IS NULL OR state = %(state)s)
        AND (%(after)s::text IS NULL OR name > %(after)s)
    ORDER BY name LIMIT %(limit)s
)
SELECT found.*, counted.keys FROM found CROSS JOIN LATERAL (
    SELECT json_build_object(
        'live', count(*) FILTER (WHERE environment = 'live'),
        'sandbox', count(*) FILTER (WHERE environment = 'sandbox')
    ) AS keys
    FROM control.api_keys WHERE partner_id = found.id
        AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
) AS counted
ORDER BY found.name
"""


def _select(
    connection: Connection[TupleRow],
    wanted: PartnerFilter,
    *,
    name: str | None = None,
    after: str | None = None,
    limit: int,
) -> list[Partner]:
    values = {**msgspec.structs.asdict(wanted), "name": name, "after": after, "limit": limit}
    cursor = connection.cursor(row_factory=struct_row(Partner))
    # Planned for these very filters each time: one plan for all of them would be slow for most.
    return cursor.execute(SELECT_PARTNERS, values, prepare=False).fetchall()


def list_partners(
    connection: Connection[TupleRow], wanted: PartnerFilter, page: Page
) -> Listing[Partner]:
    """Return partners by name."""
    rows = _select(connection, wanted, after=page.after, limit=page.limit + 1)
    return listing(rows, page, lambda partner: partner.name)


def find_partner(connection: Connection[TupleRow], name: str) -> Partner | None:
    """Return the partner of this name, if there is one."""
    found = _select(connection, PartnerFilter(), name=name, limit=1)
    return found[0] if found else None


def read_partner(connection: Connection[TupleRow], name: str) -> Partner:
    """Return the partner of this name. Raises NotFoundError."""
    return find_partner(connection, name) or refuse_unknown(name)


def refuse_unknown(name: str) -> NoReturn:
    """Raise the NotFoundError of a partner that there is not."""
    msg = f"there is no partner {name}: `partnerapi partners list` shows them"
    raise NotFoundError(msg)
