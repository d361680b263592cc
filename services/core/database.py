"""Core: connections to PostgreSQL, in pools and for the check whether it answers."""

import asyncio
import logging
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from services.core.availability import Availability
from services.core.environments import Environment

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]
ThreadPool = ConnectionPool[Connection[TupleRow]]
# Lends a connection for the length of a with block, which makes no call over the network: a pool
# has few, and a caller that waits too long for one takes PostgreSQL to be away.
Connect = Callable[[], AbstractContextManager[Connection[TupleRow]]]

ACQUIRE_TIMEOUT = 2.0  # seconds a request may wait for a connection; the gateway gives up after 2
RECONNECT_TIMEOUT = 0.3  # seconds; the pool's 300 would double its pauses to a minute and more
CHECK_TIMEOUT_MS = 1_000  # of the check, after which the health routes count it as away

# libpq's settings: a server that is gone without a word is noticed after about 10 s.
KEEPALIVE: dict[str, Any] = {
    "keepalives_idle": 5,  # seconds
    "keepalives_interval": 2,  # seconds
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,  # milliseconds
}

# The pool warns at every attempt to connect; its users log once that the database is away.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def make_pool(
    url: str, *, name: str, environment: Environment, size: int, statement_timeout_ms: int
) -> Pool:
    """Return a closed pool of at most `size` connections; its owner opens and closes it."""
    options = _pool_options(name, environment, size, statement_timeout_ms)
    return AsyncConnectionPool(url, connection_class=AsyncConnection[TupleRow], **options)


def make_thread_pool(
    url: str, *, name: str, environment: Environment | None, size: int, statement_timeout_ms: int
) -> ThreadPool:
    """Return the same for threads.

    `environment` is None for the service of both, which uses one for a transaction at a time.
    """
    options = _pool_options(name, environment, size, statement_timeout_ms)
    return ConnectionPool(url, connection_class=Connection[TupleRow], **options)


def _pool_options(
    name: str, environment: Environment | None, size: int, statement_timeout_ms: int
) -> dict[str, Any]:
    return {
        "name": name,
        "min_size": 1,
        "max_size": size,
        "open": False,
        "timeout": ACQUIRE_TIMEOUT,
        # A connection that fails is given up soon; the next request makes the pool try again.
        "reconnect_timeout": RECONNECT_TIMEOUT,
        "kwargs": connection_options(name, environment, statement_timeout=statement_timeout_ms),
    }


def connection_options(
    name: str, environment: Environment | None, **settings: int
) -> dict[str, Any]:
    """Return what a connection of a service is opened with; `settings` are PostgreSQL's.

    This is where ENVIRONMENT chooses the schema: statements name tables without one. The role in
    the address has rights in its own environment alone, so that an address of the other one finds
    no tables (A8).
    """
    chosen = {"search_path": search_path(environment), "timezone": "UTC", **settings}
    return {
        "autocommit": True,
        "application_name": name,  # not among the options, where a space would end it
        "options": " ".join(f"-c {setting}={value}" for setting, value in chosen.items()),
        "connect_timeout": 2,
        **KEEPALIVE,
    }


def search_path(environment: Environment | None) -> str:
    """Return where PostgreSQL looks for a table that is named without a schema.

    pg_temp comes last: unless it is named, a temporary table would come before all others.
    """
    return "pg_catalog,pg_temp" if environment is None else f"{environment},pg_temp"


READ_SCHEMA = "SELECT current_setting('search_path')"
USE_SCHEMA = "SELECT set_config('search_path', %s, true)"


def use_environment(connection: Connection[TupleRow], environment: Environment | None) -> None:
    """Use an environment's tables until the transaction ends, which the caller has begun."""
    connection.execute(USE_SCHEMA, [search_path(environment)])


@contextmanager
def environment_used(connection: Connection[TupleRow], environment: Environment) -> Generator[None]:
    """Use an environment's tables for a part of a transaction, then those that it used before."""
    before = connection.execute(READ_SCHEMA).fetchone()
    use_environment(connection, environment)
    yield
    connection.execute(USE_SCHEMA, before)


ANSWERS = "SELECT 1"


class DatabaseCheck:
    """Checks whether PostgreSQL answers, on a connection of its own.

    Requests may have every connection of a pool for a while, and then nothing is away.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        environment: Environment | None,
        availability: Availability,
        statement: LiteralString = ANSWERS,
    ) -> None:
        """`statement` succeeds when the service can work; `name` is what PostgreSQL shows."""
        self._url = url
        self._options = connection_options(
            f"{name} check", environment, statement_timeout=CHECK_TIMEOUT_MS
        )
        self._availability = availability
        self._statement: LiteralString = statement
        self._connection: AsyncConnection[TupleRow] | None = None
        self._turns = asyncio.Lock()

    async def check(self) -> None:
        """Raise psycopg.Error unless PostgreSQL answers."""
        async with self._turns:
            try:
                if not await self._still_answers():
                    self._connection = await AsyncConnection.connect(self._url, **self._options)
                    await self._connection.execute(self._statement)
            except psycopg.Error as exc:
                await self.close()
                self._availability.failed(exc)
                raise
        self._availability.succeeded()

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _still_answers(self) -> bool:
        """Say whether the connection of the last check is good; a server that restarted ends it."""
        if self._connection is None:
            return False
        try:
            await self._connection.execute(self._statement)
        except psycopg.Error:
            await self.close()
            return False
        return True
