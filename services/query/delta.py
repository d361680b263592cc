"""Delta: what changed since a cursor, page by page; repeats are allowed, gaps are not (Q13).

A walk is the pages until has_more is false. Its cursor keeps the xmin of the walk's first snapshot,
at or below every transaction that was under way then; the next walk reads what those and all later
ones did, whenever they committed. docs/decisions/0016-delta-sync-cursor.md has the proof.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from services.core.database_calls import Calls
from services.query.cursors import Cursor, Mark, Position, Walk, identity
from services.query.items import StockRow, entry_of
from services.query.store import DatabaseBusyError

GOOD_FOR = timedelta(days=7)  # the changes themselves are kept for a day longer
TIME_LIMIT = 1.2  # seconds for one page, its wait for a connection included
WAIT_LIMIT = 0.5  # seconds before that, while other pages are read; the caller has 2 for both
WAITING = 16  # requests that wait; at 25 ms a page and two at once the last waits 0.2 s
# Rows that one page looks at: most can be of products that changed again later. 10,000 take 25 ms.
SCANNED = 10_000

# A copy of a database has another identity: another server (system_identifier), a backup that was
# rolled forward or a standby that took over (its timeline, in the name of a WAL file), another
# database or table of the same server (oids; the environment is in the table's). On a standby this
# fails, and must: a standby's snapshots leave out transactions under way.
LOOK = """
SELECT taken.xmin::text, taken.xmax::text, clock_timestamp(),
    concat_ws(':', (SELECT system_identifier FROM pg_control_system()),
        left(pg_walfile_name(pg_current_wal_lsn()), 8),
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        'stock_changes'::regclass::oid),
    (SELECT changed_at FROM stock_changes WHERE xid < taken.xmin
        ORDER BY xid DESC, id DESC LIMIT 1),
    (SELECT changed_at FROM stock_changes WHERE xid < %(xid)s::xid8
        ORDER BY xid DESC, id DESC LIMIT 1)
FROM (
    SELECT pg_snapshot_xmin(snapshot) AS xmin, pg_snapshot_xmax(snapshot) AS xmax
    FROM pg_current_snapshot() AS snapshot
) AS taken
"""

# A change whose product has changed again since is left out: the newer one's row comes later in
# this walk, or in the next one. The last row that may be looked at is there in any case.
READ_PAGE = """
SELECT scanned.xid::text, scanned.id, scanned.number = %(scanned)s,
    scanned.version >= coalesce(products.version, removed.version, 0),
    product_id, products.quantity, products.updated_at,
    coalesce(products.version, removed.version, scanned.version)
FROM (
    SELECT xid, id, product_id, version, row_number() OVER (ORDER BY xid, id) AS number
    FROM stock_changes
    WHERE (xid, id) > (%(xid)s::xid8, %(id)s::bigint) AND xid < %(below)s::xid8
    ORDER BY xid, id LIMIT %(scanned)s
) AS scanned
LEFT JOIN products USING (product_id)
LEFT JOIN removed_products AS removed USING (product_id)
WHERE number = %(scanned)s
    OR scanned.version >= coalesce(products.version, removed.version, 0)
ORDER BY scanned.xid, scanned.id LIMIT %(rows)s
"""

log = structlog.get_logger()


class StartAnewError(Exception):
    """A cursor is too old, or not of this database: its follower may have missed something."""


class Removed(NamedTuple):
    """A product that is there no more."""

    product_id: str
    version: int


class Page(NamedTuple):
    """What a follower is told at once: items, JSON with commas between, and removals."""

    items: bytes
    removed: list[Removed]
    next_cursor: Cursor
    has_more: bool


class Look(NamedTuple):
    """A new snapshot, and what tells whether a cursor was given out by this database."""

    first: Mark
    below: int  # its xmax: no transaction from this number on has ended
    database: bytes
    last_change: int  # as the cursor's newest mark should have it


class ChangeRow(NamedTuple):
    """A change of the outbox, and what its product is now."""

    position: Position
    is_last: bool  # of those that one page looks at
    is_told: bool  # its product has not changed since
    stock: StockRow


class Delta:
    """Reads the changes of one environment from PostgreSQL."""

    def __init__(self, calls: Calls, *, at_once: int, scanned: int = SCANNED) -> None:
        """Take the calls of a pool; `at_once` pages are read at a time, the others wait."""
        self._calls = calls
        self._turns = asyncio.Semaphore(at_once)
        self._waiting = 0
        self._scanned = scanned

    async def start(self) -> Cursor:
        """Return a cursor behind everything that is committed. Raises DatabaseAwayError."""

        async def look(connection: AsyncConnection[TupleRow]) -> Cursor:
            found = await self._take_look(connection, 0)
            return Cursor(found.database, found.first)

        async with self._turn():
            return await self._calls.read(look, within=TIME_LIMIT)

    async def page(self, cursor: Cursor, limit: int) -> Page:
        """Return what comes next, `limit` products at most.

        Raises StartAnewError and DatabaseAwayError.
        """

        async def read(connection: AsyncConnection[TupleRow]) -> Page:
            look = await self._take_look(connection, cursor.newest.xid)
            _refuse_if_worthless(cursor, look)
            # A later snapshot than the look's. That is right: what it sees more is of transactions
            # that the next walk reads again.
            walk = cursor.walk or Walk(cursor.after, look.first, look.below)
            rows = await self._read_rows(connection, walk, limit + 1)
            return _page_of(rows, cursor, walk, limit)

        async with self._turn():
            return await self._calls.read(read, within=TIME_LIMIT)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        """Leave most connections of the pool to those who ask for stock."""
        if self._waiting >= WAITING:
            raise DatabaseBusyError
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_LIMIT):
                await self._turns.acquire()
        except TimeoutError as exc:
            raise DatabaseBusyError from exc
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()

    async def _take_look(self, connection: AsyncConnection[TupleRow], xid: int) -> Look:
        cursor = await connection.execute(LOOK, {"xid": str(xid)})
        ((xmin, xmax, now, told, newest, before),) = await cursor.fetchall()
        first = Mark(int(xmin), _microseconds(now), _microseconds(newest))
        return Look(first, int(xmax), identity(told), _microseconds(before))

    async def _read_rows(
        self, connection: AsyncConnection[TupleRow], walk: Walk, rows: int
    ) -> list[ChangeRow]:
        values = {
            "xid": str(walk.after.xid),
            "id": walk.after.change_id,
            "below": str(walk.below),
            "scanned": self._scanned,
            "rows": rows,
        }
        cursor = await connection.execute(READ_PAGE, values)
        return [
            ChangeRow(Position(int(xid), change_id), is_last, is_told, StockRow._make(stock))
            for xid, change_id, is_last, is_told, *stock in await cursor.fetchall()
        ]


def _refuse_if_worthless(cursor: Cursor, look: Look) -> None:
    """Raise StartAnewError for a cursor that can't be followed without a gap."""
    age = timedelta(microseconds=look.first.at - cursor.since.at)
    if age > GOOD_FOR:
        raise StartAnewError
    reason = _foreign(cursor, look)
    if reason:
        log.info("delta.foreign_cursor", reason=reason)
        raise StartAnewError


def _foreign(cursor: Cursor, look: Look) -> str:
    """Return why a cursor is not of this database, or nothing."""
    if cursor.database != look.database:
        return "another database"
    if max(cursor.newest.xid, cursor.walk.below if cursor.walk else 0) > look.below:
        return "the database is not as far on"
    if look.last_change != cursor.newest.last_change and not _may_be_deleted(cursor.newest, look):
        return "the database went back"
    return ""


def _may_be_deleted(mark: Mark, look: Look) -> bool:
    """Say whether retention can have deleted a mark's last change, and no other has come since.

    Changes of transactions below a mark are what they were, or fewer. If not, the server went back
    to a copy of its disk; or it crashed, and gave numbers that were lost with its last few
    milliseconds of WAL to new transactions.
    """
    age = timedelta(microseconds=look.first.at - mark.last_change)
    return age > GOOD_FOR and look.last_change <= mark.at


def _page_of(rows: list[ChangeRow], cursor: Cursor, walk: Walk, limit: int) -> Page:
    """Return the page of the rows that were read, one more than `limit` if there are as many."""
    is_full = len(rows) > limit
    rows = rows[:limit]
    has_more = is_full or bool(rows and rows[-1].is_last)
    if has_more:
        next_cursor = cursor._replace(walk=walk._replace(after=rows[-1].position))
    else:
        next_cursor = Cursor(cursor.database, walk.first)
    entries = [entry_of(row.stock) for row in rows if row.is_told]
    return Page(
        b",".join([entry.item for entry in entries if entry.item]),
        [Removed(entry.product_id, entry.version) for entry in entries if not entry.item],
        next_cursor,
        has_more,
    )


def _microseconds(when: datetime | None) -> int:
    """Return a time since 1970; 0 for none."""
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) if when else 0
