"""Redelivery: a finished delivery, several of them, or what an endpoint missed.

As partners do it themselves. Nobody is woken: the scheduler sees what is due in its next pass.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from psycopg import Connection
from psycopg.rows import TupleRow

from services.admin.changes import Change
from services.admin.deliveries.rows import Key, read_delivery
from services.admin.endpoints import rows as endpoints
from services.admin.refusals import ConflictError
from services.core.environments import Environment
from services.core.rows import struct_row
from services.domain.redelivery import REPLAY, RETRY, Replayed, replay_values, retry_values
from services.domain.states import DeliveryState, EndpointState, PartnerState

RETRIED_MOST = 500  # deliveries of one request, 0.2 s: they are locked till its end
# Ten times what a replay of the most that it takes needs; an operator may wait for it.
REPLAY_STATEMENT_TIMEOUT = "SET LOCAL statement_timeout = 30000"  # milliseconds

IN_PROGRESS = (
    "this delivery is under way: it can be retried when it is delivered, exhausted or cancelled"
)


def retry_delivery(change: Change, environment: Environment, key: Key) -> None:
    """Start a new series of a finished delivery. Raises NotFoundError, ConflictError."""
    read_delivery(change.connection, environment, key)  # there at all?
    _require_sendable(change.connection, environment, key.endpoint_id)
    if not _retry(change, environment, key):
        raise ConflictError(IN_PROGRESS)


def replay_endpoint(
    change: Change,
    environment: Environment,
    endpoint_id: UUID,
    since: datetime,
    *,
    include_delivered: bool,
) -> Replayed:
    """Send the subscribed events since a time that did not arrive, some 10,000 at most.

    `next_since` says where to go on. Raises NotFoundError, ConflictError.
    """
    _require_sendable(change.connection, environment, endpoint_id)
    change.connection.execute(REPLAY_STATEMENT_TIMEOUT)
    values = replay_values(endpoint_id, since, include_delivered=include_delivered)
    cursor = change.connection.cursor(row_factory=struct_row(Replayed))
    replayed = cursor.execute(REPLAY, values).fetchone()
    assert replayed is not None  # noqa: S101 -- an aggregate is always one row
    after = {
        "since": since,
        "include_delivered": include_delivered,
        "scheduled": replayed.scheduled,
        "next_since": replayed.next_since,
    }
    change.record("endpoint.replayed", endpoints.target(environment, endpoint_id), after=after)
    return replayed


SELECT_SENDABLE = """
SELECT endpoints.id FROM endpoints JOIN partners ON partners.id = partner_id
WHERE endpoints.state = 'active' AND partners.state = 'active' AND endpoints.id = ANY (%(ids)s)
"""


class Retried(msgspec.Struct, frozen=True):
    """How many deliveries are sent again, and how many can't be.

    Those are of endpoints that are not active, of partners that are suspended, or under way.
    """

    retried: int
    left: int


def retry_many(change: Change, environment: Environment, keys: Sequence[Key]) -> Retried:
    """Start a new series of each delivery that has ended and can be sent.

    Rows are locked by key, so that two requests wait for each other in one direction only.
    """
    ids = list({key.endpoint_id for key in keys})
    rows = change.connection.execute(SELECT_SENDABLE, {"ids": ids})
    sendable = {row[0] for row in rows}
    found = sorted({key for key in keys if key.endpoint_id in sendable})
    retried = sum(_retry(change, environment, key) for key in found)
    return Retried(retried, len(set(keys)) - retried)


def _retry(change: Change, environment: Environment, key: Key) -> bool:
    values = retry_values(key.endpoint_id, key.event_id)
    row = change.connection.execute(RETRY, values).fetchone()
    if row is None:
        return False
    target = f"delivery:{environment}/{key.endpoint_id}/{key.event_id}"
    after = {"state": DeliveryState.PENDING}
    change.record("delivery.retried", target, before={"state": row[0]}, after=after)
    return True


SELECT_STANDING = """
SELECT endpoints.state, partners.state, name
FROM endpoints JOIN partners ON partners.id = partner_id
WHERE endpoints.id = %(endpoint_id)s
"""


def _require_sendable(
    connection: Connection[TupleRow], environment: Environment, endpoint_id: UUID
) -> None:
    """Raise unless something can be sent to an endpoint: NotFoundError, ConflictError."""
    row = connection.execute(SELECT_STANDING, {"endpoint_id": endpoint_id}).fetchone()
    if row is None:
        endpoints.refuse_unknown(environment, endpoint_id)
    state, partner_state, partner = row
    if partner_state != PartnerState.ACTIVE:
        msg = f"partner {partner} is suspended: resume it first"
        raise ConflictError(msg)
    if state == EndpointState.DELETED:
        raise ConflictError(endpoints.DELETED)
    if state != EndpointState.ACTIVE:
        msg = "this webhook is disabled: enable it first"
        raise ConflictError(msg)
