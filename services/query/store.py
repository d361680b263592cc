"""Store: read stock from PostgreSQL, the truth below the cache."""

from collections.abc import Sequence

import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from services.core.database_calls import Calls, DatabaseAwayError
from services.query.items import Entry, StockRow, entry_of

TIME_LIMIT = 1.5  # seconds for one read, its wait for a connection included; the caller has 2
# Reads under way and waiting for one of 8 connections; at 5 ms a read the last waits 80 ms. 100
# users (Q6) fit when no cache helps; of more, some are refused at once and none waits for nothing.
READS = 128

# Both tables in one statement, so that they are seen at one moment.
READ_STOCK = """
SELECT product_id, quantity, updated_at, version FROM products
WHERE product_id = ANY(%(ids)s)
UNION ALL
SELECT product_id, NULL, NULL, version FROM removed_products
WHERE product_id = ANY(%(ids)s)
"""

log = structlog.get_logger()


class DatabaseBusyError(DatabaseAwayError):
    """So many reads are under way that one more would wait too long."""


class Store:
    """Reads stock of one environment."""

    def __init__(self, calls: Calls, *, most: int = READS) -> None:
        """Take the calls of a pool that its owner opens and closes; `most` reads are under way."""
        self._calls = calls
        self._most = most
        self.under_way = 0
        self.refused = 0  # reads, since the start
        self._told_busy = False

    async def read(self, product_ids: Sequence[str]) -> list[Entry]:
        """Return an entry for each id, in their order.

        Raises DatabaseAwayError; at once, as DatabaseBusyError, when too many reads are under way.
        """
        self._refuse_if_busy()
        self.under_way += 1
        try:
            rows = await self._select(list(product_ids))
        finally:
            self.under_way -= 1
        newest: dict[str, StockRow] = {}
        for row in rows:  # a product that was removed and made again has a row in both tables
            known = newest.get(row.product_id)
            if known is None or known.version < row.version:
                newest[row.product_id] = row
        never = (StockRow(each, None, None, 0) for each in product_ids)
        return [entry_of(newest.get(row.product_id, row)) for row in never]

    def _refuse_if_busy(self) -> None:
        if self.under_way >= self._most:
            self.refused += 1
            if not self._told_busy:
                self._told_busy = True
                log.warning("database.busy", reads=self.under_way)
            raise DatabaseBusyError
        if self.under_way * 2 < self._most:
            self._told_busy = False

    async def _select(self, product_ids: list[str]) -> list[StockRow]:
        async def select(connection: AsyncConnection[TupleRow]) -> list[StockRow]:
            cursor = await connection.execute(READ_STOCK, {"ids": product_ids})
            return [StockRow._make(row) for row in await cursor.fetchall()]

        return await self._calls.read(select, within=TIME_LIMIT)
