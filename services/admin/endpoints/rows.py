"""Endpoints: the webhook subscriptions of any partner; looked at, disabled and enabled.

What the partner's own API does to them is in services/webhooks/api; never is a secret read here.
"""

from datetime import datetime
from typing import NoReturn
from uuid import UUID

import msgspec
from psycopg import Connection
from psycopg.rows import TupleRow

from services.admin.changes import Change
from services.admin.pages import Listing, Page, cursor_id, listing
from services.admin.refusals import ConflictError, NotFoundError
from services.core.environments import Environment
from services.core.rows import struct_row
from services.domain.relay_lock import TAKE_RELAY_LOCK, relay_lock
from services.domain.states import DisabledReason, EndpointState

DELETED = "this endpoint was deleted by its partner, who may register it again"


class Endpoint(msgspec.Struct, frozen=True):
    """An endpoint in a list."""

    id: UUID
    partner: str
    url: str
    events: list[str]
    state: EndpointState
    disabled_reason: str | None  # by_partner, by_operator, gone or failing
    failing_since: datetime | None  # the first failed attempt after its last success
    incident_since: datetime | None  # its first exhausted delivery after its last success
    slow_until: datetime | None  # it timed out and is in the slow lane till then
    created_at: datetime


class EndpointDetails(Endpoint, frozen=True):
    """An endpoint with what a person needs to judge it."""

    partner_state: str  # a suspended partner's endpoints are sent nothing either
    deliveries: dict[str, int]  # how many of the last 7 days are in which state
    last_delivered_at: datetime | None  # likewise of the last 7 days


class EndpointFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which endpoints are listed; None: whichever. Deleted ones only when they are asked for."""

    partner: str | None = None
    state: EndpointState | None = None
    failing: bool | None = None  # whether its last attempt failed
    url: str | None = None  # a part of it, in small or capital letters


FIND_PARTNER = "SELECT id FROM partners WHERE name = %(partner)s"


def find_partner_id(connection: Connection[TupleRow], partner: str | None) -> UUID | None:
    """Return the id of the partner that a filter names, if it names one.

    Raises RefusedError: a mistyped name is no empty list, and an empty one is not all partners.
    """
    if partner is None:
        return None
    row = connection.execute(FIND_PARTNER, {"partner": partner}).fetchone()
    if row is None:
        msg = f"there is no partner `{partner}`: `partnerapi partners list` shows them"
        raise NotFoundError(msg)
    return row[0]


SELECT_ENDPOINTS = """
SELECT endpoints.id, partners.name AS partner, url, events, endpoints.state, disabled_reason,
    failing_since, incident_since,
    CASE WHEN slow_until > now() THEN slow_until END AS slow_until, created_at
FROM endpoints JOIN partners ON partners.id = partner_id
WHERE (%(partner_id)s::uuid IS NULL OR partner_id = %(partner_id)s)
    AND endpoints.state = ANY (%(states)s)
    AND (%(failing)s::boolean IS NULL OR (failing_since IS NOT NULL) = %(failing)s)
    AND (%(url)s::text IS NULL OR position(lower(%(url)s) IN lower(url)) > 0)
    AND (%(after)s::uuid IS NULL OR endpoints.id < %(after)s)
ORDER BY endpoints.id DESC LIMIT %(limit)s
"""


def list_endpoints(
    connection: Connection[TupleRow], wanted: EndpointFilter, page: Page
) -> Listing[Endpoint]:
    """Return endpoints, newest first. Raises NotFoundError for a partner that there is not."""
    shown = (EndpointState.ACTIVE, EndpointState.DISABLED)
    values = {
        "partner_id": find_partner_id(connection, wanted.partner),
        "states": [wanted.state] if wanted.state else [*shown],
        "failing": wanted.failing,
        "url": wanted.url,
        "after": cursor_id(page),
        "limit": page.limit + 1,
    }
    cursor = connection.cursor(row_factory=struct_row(Endpoint))
    # Planned for these very filters each time: one plan for all of them would be slow for most.
    rows = cursor.execute(SELECT_ENDPOINTS, values, prepare=False).fetchall()
    return listing(rows, page, lambda endpoint: endpoint.id)


SELECT_ENDPOINT = """
SELECT endpoints.id, partners.name AS partner, url, events, endpoints.state, disabled_reason,
    failing_since, incident_since,
    CASE WHEN slow_until > now() THEN slow_until END AS slow_until, created_at,
    partners.state AS partner_state,
    coalesce(counted.deliveries, '{}') AS deliveries, counted.last_delivered_at
FROM endpoints JOIN partners ON partners.id = partner_id
CROSS JOIN LATERAL (
    SELECT json_object_agg(by_state.state, number ORDER BY by_state.state) AS deliveries,
        max(finished_at) FILTER (WHERE by_state.state = 'delivered') AS last_delivered_at
    FROM (
        SELECT deliveries.state, count(*) AS number, max(finished_at) AS finished_at
        FROM deliveries WHERE endpoint_id = endpoints.id GROUP BY deliveries.state
    ) AS by_state
) AS counted
WHERE endpoints.id = %(endpoint_id)s
"""


def read_endpoint(
    connection: Connection[TupleRow], environment: Environment, endpoint_id: UUID
) -> EndpointDetails:
    """Return one endpoint, also a deleted one. Raises NotFoundError."""
    cursor = connection.cursor(row_factory=struct_row(EndpointDetails))
    row = cursor.execute(SELECT_ENDPOINT, {"endpoint_id": endpoint_id}).fetchone()
    return row or refuse_unknown(environment, endpoint_id)


DISABLE = """
UPDATE endpoints SET state = 'disabled', disabled_reason = 'by_operator', changed_at = now()
WHERE id = %(endpoint_id)s
"""


def disable_endpoint(change: Change, environment: Environment, endpoint_id: UUID) -> None:
    """Send an endpoint nothing more; its partner can't enable it. Raises RefusedError."""
    before = _lock(change, environment, endpoint_id)
    if before.disabled_reason == DisabledReason.BY_OPERATOR:
        msg = "this endpoint is disabled by operations already"
        raise ConflictError(msg)
    change.connection.execute(DISABLE, {"endpoint_id": endpoint_id})
    after = _Standing(EndpointState.DISABLED, DisabledReason.BY_OPERATOR)
    change.record("endpoint.disabled", target(environment, endpoint_id), before=before, after=after)


# It begins afresh; an incident ends with its next success, as its contact was told.
ENABLE = """
UPDATE endpoints SET state = 'active', disabled_reason = NULL,
    failing_since = NULL, slow_until = NULL, changed_at = now()
WHERE id = %(endpoint_id)s
"""


def enable_endpoint(change: Change, environment: Environment, endpoint_id: UUID) -> None:
    """Send an endpoint what happens from now on, also one that its partner disabled.

    Raises RefusedError.
    """
    change.connection.execute(TAKE_RELAY_LOCK, relay_lock(environment))
    before = _lock(change, environment, endpoint_id)
    if before.state is EndpointState.ACTIVE:
        msg = "this endpoint is active already"
        raise ConflictError(msg)
    change.connection.execute(ENABLE, {"endpoint_id": endpoint_id})
    after = _Standing(EndpointState.ACTIVE, None)
    change.record("endpoint.enabled", target(environment, endpoint_id), before=before, after=after)


class _Standing(msgspec.Struct, frozen=True):
    """What disabling and enabling changes, as the audit log shows it."""

    state: EndpointState
    disabled_reason: str | None


LOCK_ENDPOINT = """
SELECT state, disabled_reason FROM endpoints WHERE id = %(endpoint_id)s FOR NO KEY UPDATE
"""


def _lock(change: Change, environment: Environment, endpoint_id: UUID) -> _Standing:
    """Hold an endpoint's row; return how it stands. Raises RefusedError if it can't change."""
    row = change.connection.execute(LOCK_ENDPOINT, {"endpoint_id": endpoint_id}).fetchone()
    if row is None:
        refuse_unknown(environment, endpoint_id)
    standing = _Standing(EndpointState(row[0]), row[1])
    if standing.state is EndpointState.DELETED:
        raise ConflictError(DELETED)
    return standing


def refuse_unknown(
    environment: Environment, endpoint_id: UUID, partner: str | None = None
) -> NoReturn:
    """Raise the NotFoundError of an endpoint that there is not, or that is not this partner's."""
    owned = f" of {partner}" if partner else ""
    msg = (
        f"there is no endpoint {endpoint_id}{owned} in {environment}:"
        " `partnerapi endpoints list` shows them"
    )
    raise NotFoundError(msg)


def target(environment: Environment, endpoint_id: UUID) -> str:
    """Return how the audit log names an endpoint."""
    return f"endpoint:{environment}/{endpoint_id}"
