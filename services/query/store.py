"""Store: read stock from PostgreSQL, the truth below the cache."""

from collections.abc import Sequence

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from services.kernel.database_calls import Calls
from services.kernel.environments import Environment
from services.query.items import Entry, StockRow, entry_of

TIME_LIMIT = 1.5  # seconds for one read, its wait for a connection included; the caller has 2

# Both tables in one statement, so that they are seen at one moment.
READ_STOCK = """
SELECT product_id, quantity, updated_at, version FROM {env}.products
WHERE product_id = ANY(%(ids)s)
UNION ALL
SELECT product_id, NULL, NULL, version FROM {env}.removed_products
WHERE product_id = ANY(%(ids)s)
"""


class Store:
    """Reads stock of one environment."""

    def __init__(self, calls: Calls, environment: Environment) -> None:
        """Take the calls of a pool that its owner opens and closes."""
        self._calls = calls
        self._read_stock = sql.SQL(READ_STOCK).format(env=sql.Identifier(environment)).as_bytes()

    async def read(self, product_ids: Sequence[str]) -> list[Entry]:
        """Return an entry for each id, in their order. Raises DatabaseAwayError."""
        rows = await self._select(list(product_ids))
        newest: dict[str, StockRow] = {}
        for row in rows:  # a product that was removed and made again has a row in both tables
            known = newest.get(row.product_id)
            if known is None or known.version < row.version:
                newest[row.product_id] = row
        never = (StockRow(each, None, None, 0) for each in product_ids)
        return [entry_of(newest.get(row.product_id, row)) for row in never]

    async def ping(self) -> None:
        """Raise DatabaseAwayError unless PostgreSQL answers."""
        await self._select([])

    async def _select(self, product_ids: list[str]) -> list[StockRow]:
        async def select(connection: AsyncConnection[TupleRow]) -> list[StockRow]:
            cursor = await connection.execute(self._read_stock, {"ids": product_ids})
            return [StockRow._make(row) for row in await cursor.fetchall()]

        return await self._calls.read(select, within=TIME_LIMIT)
