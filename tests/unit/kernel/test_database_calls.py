"""A request's work in the database: what counts as PostgreSQL being away, and as being back."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import psycopg
import pytest
from structlog.testing import capture_logs

from services.core.availability import QUIET, Availability
from services.core.database import Pool
from services.core.database_calls import Calls, DatabaseAwayError
from services.core.errors import ErrorCode, PartnerError


class OneConnection:
    """A pool of one connection that nothing is asked of."""

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Any]:
        yield None


async def refuse(_: object) -> None:
    raise PartnerError(ErrorCode.NOT_FOUND, "no such webhook")


async def lose(_: object) -> None:
    raise psycopg.InterfaceError


def test_a_refusal_by_what_postgresql_answered_says_that_it_is_back() -> None:
    now = [0.0]
    availability = Availability("database", clock=lambda: now[0])
    calls = Calls(cast("Pool", OneConnection()), availability=availability)

    async def ask() -> None:
        with pytest.raises(DatabaseAwayError):
            await calls.change(lose, within=5)
        now[0] = 2 * QUIET
        with pytest.raises(PartnerError):
            await calls.change(refuse, within=5)

    with capture_logs() as logs:
        asyncio.run(ask())
    assert [entry["event"] for entry in logs] == ["database.away", "database.back"]
