"""Core: a request's work in the database, for a limited time and told when it is away."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection, errors
from psycopg.rows import TupleRow

from services.core.availability import Availability
from services.core.database import Pool
from services.core.errors import PartnerError

T = TypeVar("T")
Work = Callable[[AsyncConnection[TupleRow]], Awaitable[T]]

# Of a read, within its time: the next connection can be lost too when all are broken off at once.
ATTEMPTS = 3
SHUTDOWN_ERRORS = (errors.AdminShutdown, errors.CrashShutdown)


class DatabaseAwayError(Exception):
    """PostgreSQL is away, or too slow to wait for."""


class Calls:
    """Runs the work of one service's requests on the connections of its pool."""

    def __init__(self, pool: Pool, *, availability: Availability) -> None:
        """Take a pool that its owner opens and closes."""
        self._pool = pool
        self._availability = availability
        self._given_up: set[asyncio.Task[Any]] = set()

    async def read(self, work: Work[T], *, within: float) -> T:
        """Return what `work` reads; it is done again if its connection proves to be dead.

        `within` is in seconds, the wait for a connection included. Raises DatabaseAwayError.
        """
        return await self._within(self._done_again(work), within)

    async def change(self, work: Work[T], *, within: float) -> T:
        """Return what `work` answers; it is done once. Raises DatabaseAwayError."""
        return await self._within(self._done(work), within)

    async def _done(self, work: Work[T]) -> T:
        async with self._pool.connection() as connection:
            try:
                return await work(connection)
            except psycopg.OperationalError as exc:
                if _is_lost(connection, exc):
                    await self._forget(connection)
                raise

    async def _done_again(self, work: Work[T]) -> T:
        for _ in range(ATTEMPTS - 1):
            async with self._pool.connection() as connection:
                try:
                    return await work(connection)
                except psycopg.OperationalError as exc:
                    if not _is_lost(connection, exc):
                        raise
                    await self._forget(connection)
        async with self._pool.connection() as connection:
            return await work(connection)

    async def _forget(self, connection: AsyncConnection[TupleRow]) -> None:
        """Keep nobody on dead connections: the server went away, and others are dead with it."""
        await connection.close()
        await self._pool.check()

    async def _within(self, work: Coroutine[Any, Any, T], limit: float) -> T:
        """Await `work` for at most `limit` seconds, then let it end by itself.

        psycopg takes up to 10 s to let go of a query when the server hangs, which is why this
        does not wait for the end of what it cancels, as asyncio.timeout would.
        """
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task}, timeout=limit)
        finally:
            if not task.done():
                task.cancel()
                self._given_up.add(task)
                task.add_done_callback(self._given_up.discard)
        try:
            result = _result(task, limit)
        except (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError) as exc:
            self._availability.failed(exc)
            raise DatabaseAwayError from exc
        except PartnerError:  # a refusal by what the database answered
            self._availability.succeeded()
            raise
        self._availability.succeeded()
        return result


def _is_lost(connection: AsyncConnection[TupleRow], exc: psycopg.OperationalError) -> bool:
    """Say whether a session has ended; such an error can come before the connection's end."""
    return connection.broken or isinstance(exc, SHUTDOWN_ERRORS)


def _result(task: asyncio.Task[T], limit: float) -> T:
    if task.done():
        return task.result()
    msg = f"no answer in {limit} s"
    raise TimeoutError(msg)
