"""Store: read stock from PostgreSQL, the truth below the cache."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from services.kernel.database import Pool
from services.kernel.environments import Environment
from services.query.availability import Availability
from services.query.items import Entry, StockRow, entry_of

T = TypeVar("T")

TIME_LIMIT = 1.5  # seconds for one read, its wait for a connection included; the caller has 2

# Both tables in one statement, so that they are seen at one moment.
READ_STOCK = """
SELECT product_id, quantity, updated_at, version FROM {env}.products
WHERE product_id = ANY(%(ids)s)
UNION ALL
SELECT product_id, NULL, NULL, version FROM {env}.removed_products
WHERE product_id = ANY(%(ids)s)
"""


class StoreAwayError(Exception):
    """PostgreSQL is away, or too slow to wait for."""


class Store:
    """Reads stock of one environment."""

    def __init__(self, pool: Pool, environment: Environment, *, availability: Availability) -> None:
        """Take a pool that its owner opens and closes."""
        self._pool = pool
        self._availability = availability
        self._read_stock = sql.SQL(READ_STOCK).format(env=sql.Identifier(environment)).as_bytes()
        self._given_up: set[asyncio.Task[Any]] = set()

    async def read(self, product_ids: Sequence[str]) -> list[Entry]:
        """Return an entry for each id, in their order. Raises StoreAwayError."""
        rows = await self._within(self._query(list(product_ids)), TIME_LIMIT)
        newest: dict[str, StockRow] = {}
        for row in rows:  # a product that was removed and made again has a row in both tables
            known = newest.get(row.product_id)
            if known is None or known.version < row.version:
                newest[row.product_id] = row
        never = (StockRow(each, None, None, 0) for each in product_ids)
        return [entry_of(newest.get(row.product_id, row)) for row in never]

    async def ping(self) -> None:
        """Raise StoreAwayError unless PostgreSQL answers."""
        await self._within(self._query([]), TIME_LIMIT)

    async def _query(self, product_ids: list[str]) -> list[StockRow]:
        async with self._pool.connection() as connection:
            try:
                cursor = await connection.execute(self._read_stock, {"ids": product_ids})
            except psycopg.OperationalError:
                if not connection.broken:
                    raise
                # The server went away and its other connections in the pool are as dead.
                await self._pool.check()
            else:
                return [StockRow._make(row) for row in await cursor.fetchall()]
        async with self._pool.connection() as connection:
            cursor = await connection.execute(self._read_stock, {"ids": product_ids})
            return [StockRow._make(row) for row in await cursor.fetchall()]

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
            raise StoreAwayError from exc
        self._availability.succeeded()
        return result


def _result(task: asyncio.Task[T], limit: float) -> T:
    if task.done():
        return task.result()
    msg = f"no answer in {limit} s"
    raise TimeoutError(msg)
