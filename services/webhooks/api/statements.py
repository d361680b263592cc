"""Statements: what this API's stores run their SQL with."""

from collections.abc import Mapping
from typing import Any, LiteralString, TypeVar
from uuid import UUID

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from services.core.errors import PartnerError
from services.core.rows import struct_row
from services.domain.states import EndpointState
from services.webhooks.api.refusals import DISABLED, NO_WEBHOOK

Connection = AsyncConnection[TupleRow]
Values = Mapping[str, object]

STATEMENT_TIMEOUT_MS = 1_500
PARTNER_TIME_LIMIT = 1.5  # seconds to find the partner, which comes before anything else
TIME_LIMIT = 3.0  # seconds of one request's work; the gateway waits 10

R = TypeVar("R", bound=msgspec.Struct)


async def one_row(
    connection: Connection, statement: LiteralString, values: Values, row: type[R]
) -> R | None:
    """Return the first row of a statement as a Struct, if there is one."""
    cursor = connection.cursor(row_factory=struct_row(row))
    return await (await cursor.execute(statement, values)).fetchone()


async def all_rows(
    connection: Connection, statement: LiteralString, values: Values, row: type[R]
) -> list[R]:
    """Return the rows of a statement as Structs."""
    cursor = connection.cursor(row_factory=struct_row(row))
    return await (await cursor.execute(statement, values)).fetchall()


async def first_value(connection: Connection, statement: LiteralString, values: Values) -> Any:  # noqa: ANN401
    """Return the first column of the first row, None when there is no row."""
    row = await (await connection.execute(statement, values)).fetchone()
    return None if row is None else row[0]


def own(partner_id: UUID, webhook_id: UUID) -> dict[str, object]:
    """Return what a partner's own webhook is found by."""
    return {"partner_id": partner_id, "webhook_id": webhook_id}


OWN_STATE = """
SELECT state FROM endpoints
WHERE id = %(webhook_id)s AND partner_id = %(partner_id)s AND state <> 'deleted'
"""


async def check_exists(connection: Connection, owner: Values) -> EndpointState:
    """Return the state of a partner's own webhook. Raises PartnerError (404)."""
    state = await first_value(connection, OWN_STATE, owner)
    if state is None:
        raise PartnerError(*NO_WEBHOOK)
    return EndpointState(state)


async def check_active(connection: Connection, owner: Values) -> None:
    """Raise PartnerError unless there is such a webhook (404) and it is active (409)."""
    if await check_exists(connection, owner) is not EndpointState.ACTIVE:
        raise PartnerError(*DISABLED)
