"""Changes: bring committed stock changes into memory, then the cache, within a second (Q7).

A notification wakes, and so does the clock; neither is trusted to say what changed. Each time, one
statement asks for what this snapshot sees and the previous one did not. Ids or times would not do:
transactions become visible in another order than they took their numbers in. Snapshots are those of
the primary: on a standby pg_current_snapshot() leaves out transactions under way.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection

from services.core.availability import Availability
from services.core.background import note_failure
from services.core.database import connection_options
from services.core.environments import Environment
from services.domain.stock import LISTEN
from services.query.cache import Cache, CacheAwayError
from services.query.items import Entry, StockRow, entry_of
from services.query.memory import Memory

BATCH = 250  # entries of one write; 5,000 at once would hold Valkey, and requests here, for 20 ms
COALESCE = 0.01  # seconds from a wake to its read; a busy writer costs at most 100 reads a second
CACHE_WITHIN = 0.25  # seconds, and COALESCE for each batch; memory's next news waits no longer
READ_WITHIN = 10.0  # seconds; then the connection is taken for dead
BACKOFF_FIRST, BACKOFF_MOST = 0.1, 5.0  # seconds between attempts to connect

CURRENT_SNAPSHOT = "SELECT pg_current_snapshot()::text"

# One row at least, so that the snapshot comes back even when nothing has changed. What a product is
# now comes from its own tables: an outbox that was restored from a copy may lie.
READ_CHANGED = """
WITH changed AS MATERIALIZED (
    SELECT DISTINCT product_id FROM stock_changes
    WHERE xid >= pg_snapshot_xmin(%(seen)s::pg_snapshot)
    AND NOT pg_visible_in_snapshot(xid, %(seen)s::pg_snapshot)
)
SELECT taken.snapshot, changed.product_id, products.quantity, products.updated_at,
    coalesce(products.version, removed.version, 0)
FROM (SELECT pg_current_snapshot()::text AS snapshot) AS taken
LEFT JOIN changed ON true
LEFT JOIN products USING (product_id)
LEFT JOIN removed_products AS removed USING (product_id)
"""

log = structlog.get_logger()


class ChangeFeed:
    """Follows one environment's changes on a connection of its own, for ever."""

    def __init__(
        self,
        database_url: str,
        environment: Environment,
        cache: Cache,
        memory: Memory,
        *,
        poll: timedelta,
        max_age: timedelta,
        clock: Callable[[], float],
        availability: Availability,
    ) -> None:
        """`max_age` is the cache's bound; `clock` tells seconds since 1970."""
        self._database_url = database_url
        self._environment = environment
        self._cache = cache
        self._memory = memory
        self._poll = poll.total_seconds()
        self._max_age = max_age.total_seconds()
        self._clock = clock
        self._availability = availability
        self._seen: str | None = None  # the snapshot up to which the caches know everything
        self._unwritten_since: float | None = None
        self._read_at = clock()  # until the first time: the start

    @property
    def age(self) -> float:
        """Seconds since it last knew what has changed; for the metrics."""
        return max(0.0, self._clock() - self._read_at)

    async def run(self) -> None:
        """Follow until cancelled; connect again whenever the connection is lost."""
        backoff = BACKOFF_FIRST
        while True:
            try:
                async with await self._connect() as connection:
                    await connection.execute(LISTEN[self._environment])
                    while True:
                        await self.catch_up(connection)
                        backoff = BACKOFF_FIRST
                        await self._wait(connection)
            except (psycopg.Error, OSError, TimeoutError) as exc:
                self._availability.failed(exc)
            except Exception:  # noqa: BLE001 -- a feed that ended would leave nobody to notice
                note_failure("changes.failed")
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, BACKOFF_MOST)

    async def catch_up(self, connection: AsyncConnection[Any]) -> int:
        """Write what has changed since the last time; return how many products that were."""
        if self._seen is None:
            self._seen = await self._current_snapshot(connection)
            self._memory.forget()  # what was read before may have changed before, too
        seen = self._seen
        read_began = self._clock()
        async with asyncio.timeout(READ_WITHIN):
            snapshot, changed = await self._read(connection, seen)
        self._availability.succeeded()
        self._read_at = read_began
        if _runs_backwards(seen, snapshot):
            log.warning("changes.database_replaced", seen=seen, found=snapshot)
            self._seen = snapshot
            return 0
        if await self._write(changed, read_began):
            self._seen = snapshot
        return len(changed)

    async def _read(
        self, connection: AsyncConnection[Any], seen: str
    ) -> tuple[str, list[StockRow]]:
        """Return this snapshot, and what has changed since the one seen."""
        cursor = await connection.execute(READ_CHANGED, {"seen": seen})
        snapshot = seen
        changed: list[StockRow] = []
        while rows := await cursor.fetchmany(BATCH):
            snapshot = str(rows[0][0])
            changed += [StockRow._make(row[1:]) for row in rows if row[1] is not None]
            # Requests get their turn: 200,000 rows at once took half a second of theirs.
            await asyncio.sleep(0)
        return snapshot, changed

    async def _connect(self) -> AsyncConnection[Any]:
        options = connection_options(
            "query changes", self._environment, statement_timeout=round(READ_WITHIN * 1000)
        )
        return await AsyncConnection.connect(self._database_url, **options)

    async def _current_snapshot(self, connection: AsyncConnection[Any]) -> str:
        async with asyncio.timeout(READ_WITHIN):
            cursor = await connection.execute(CURRENT_SNAPSHOT)
            rows = await cursor.fetchall()
        return str(rows[0][0])

    async def _wait(self, connection: AsyncConnection[Any]) -> None:
        """Return soon after a notification, or after the poll interval."""
        async with contextlib.aclosing(
            connection.notifies(timeout=self._poll, stop_after=1)
        ) as notifies:
            async for _ in notifies:
                await asyncio.sleep(COALESCE)

    async def _write(self, rows: Sequence[StockRow], read_began: float) -> bool:
        """Write rows to memory and the cache; say whether they need not be read again."""
        batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        # All of them to memory first: nothing there waits for a Valkey that hangs.
        told = [await self._tell_memory(batch, read_began) for batch in batches]
        try:
            async with asyncio.timeout(CACHE_WITHIN + COALESCE * len(told)):
                for entries in told:
                    await self._cache.write(entries, read_began=read_began)
        except (CacheAwayError, TimeoutError):
            if self._unwritten_since is None:
                self._unwritten_since = read_began
            # By then whatever the cache still holds from before has expired.
            return read_began - self._unwritten_since > self._max_age
        self._unwritten_since = None
        return True

    async def _tell_memory(self, rows: Sequence[StockRow], read_began: float) -> list[Entry]:
        entries = [entry_of(row) for row in rows]
        self._memory.follow(entries, read_began=read_began)
        await asyncio.sleep(0)  # requests get their turn
        return entries


def _runs_backwards(before: str, after: str) -> bool:
    """Say whether a snapshot is of a database that is not as far on (it was restored)."""
    return int(after.split(":")[1]) < int(before.split(":")[1])
