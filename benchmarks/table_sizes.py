"""Table sizes: bytes of a row and a cached item, rates of relay and retention (docs/scaling.md).

Run as `python -m benchmarks.table_sizes`. A PostgreSQL and a Valkey of its own; our own relay and
retention work on them, one endpoint subscribes to everything, nothing is sent to anybody: what a
worker would record is written by one statement.
"""

import argparse
import asyncio
import os
import platform
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import LiteralString, NamedTuple
from uuid import UUID

from valkey import Valkey

from benchmarks.hot_path import wait_until_idle
from benchmarks.hot_servers import PASSWORD, query_server
from services.core.availability import Availability
from services.core.environments import Environment
from services.local.postgres import running_postgres
from services.local.valkey import running_valkey
from services.query.cache import Cache
from services.query.items import StockRow, entry_of
from services.schema.migrate import migrate, set_role_password
from services.webhooks.queue import Lane, Wakeups
from services.webhooks.relay.relay import Relay
from services.webhooks.scheduler.retention import delete_some
from services.webhooks.scheduler.store import due_endpoints
from services.webhooks.sessions import Session, connect

ENVIRONMENT = Environment.LIVE
TABLES = ("products", "stock_changes", "events", "deliveries", "attempts")
CACHE_BATCH = 500
PARTNERS = 10_000  # with two endpoints each
LOOKS = 9
FEED_PRODUCTS, FEED_TRANSACTION = 50_000, 20

SUBSCRIBE = """
WITH partner AS (
    INSERT INTO live.partners (id, name, contact, state)
    VALUES (gen_random_uuid(), 'bench', 'bench@bench.example', 'active') RETURNING id
)
INSERT INTO live.endpoints (partner_id, url, events, secret)
SELECT id, 'https://bench.example/', '{inventory.updated}', 'sealed' FROM partner
"""
CROWD = """
WITH made AS (
    INSERT INTO live.partners (id, name, contact, state)
    SELECT gen_random_uuid(), 'crowd-' || n, 'bench@bench.example', 'active'
    FROM generate_series(1, %s) AS n RETURNING id
)
INSERT INTO live.endpoints (partner_id, url, events, secret)
SELECT id, 'https://bench.example/' || n, '{inventory.updated}', 'sealed'
FROM made, generate_series(1, 2) AS n
"""
INSERT = """
INSERT INTO live.products (product_id, quantity)
SELECT 'BENCH-' || lpad(n::text, 8, '0'), 100 FROM generate_series(1, %s) AS n
"""
CHANGE = """
UPDATE live.products SET quantity = quantity + 1
WHERE product_id BETWEEN 'BENCH-' || lpad(%s::text, 8, '0') AND 'BENCH-' || lpad(%s::text, 8, '0')
"""
# As delivery/records.py leaves them after a first attempt that went well.
DELIVER: tuple[LiteralString, ...] = (
    "UPDATE live.deliveries SET state = 'sending', attempts = 1, claimed_at = now(),"
    " lease_until = now()",
    "UPDATE live.deliveries SET state = 'delivered', lease_until = NULL, finished_at = now()",
    "INSERT INTO live.attempts (endpoint_id, event_id, series, number, outcome, status,"
    " started_at, milliseconds)"
    " SELECT endpoint_id, event_id, 1, 1, 'delivered', 200, now(), 40 FROM live.deliveries",
)
SIZE = """
SELECT pg_table_size(%(table)s::regclass), pg_indexes_size(%(table)s::regclass)
"""
# All of the same time, and long ago.
AGE: tuple[LiteralString, ...] = (
    "UPDATE live.events SET occurred_at = now() - interval '9 days'",
    "UPDATE live.stock_changes SET changed_at = now() - interval '9 days'",
)


class Sizes(NamedTuple):
    """Bytes of a table, and of its indexes."""

    table: int
    indexes: int


class Nowhere(Wakeups):
    """Wake-ups that nobody needs."""

    def __init__(self) -> None:
        """Take no broker."""

    def wake(self, endpoint_id: UUID, lane: Lane = Lane.FAST, *, times: int = 1) -> None:
        """Do nothing."""

    def waiting(self, lane: Lane) -> int:
        """Say that none waits."""
        del lane
        return 0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=200_000)
    products: int = parser.parse_args().products
    print(
        f"{products:,} products; Python {platform.python_version()}, {os.cpu_count()} cores",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        for lines in (
            measure_database(Path(folder), products),
            measure_cache(folder, products),
            measure_feed(Path(folder)),
        ):
            for line in lines:
                print(line, flush=True)


def measure_database(folder: Path, products: int) -> Generator[str]:
    """Yield what rows take, and how quickly they come and go."""
    with running_postgres(folder / "postgres") as server:
        migrate(server.url())
        with connect(server.url(), "table_sizes", ENVIRONMENT) as session:
            session.execute("SET statement_timeout = 0")
            session.execute(SUBSCRIBE)
            yield took("insert by one statement", products, lambda: fill(session, products))
            relay = Relay(server.url(), ENVIRONMENT, Nowhere(), poll_seconds=1)
            yield took("relay, one subscriber", products, lambda: repeat(relay, session))
            yield from sizes(session, products, "fresh", TABLES[:4])
            deliver(session)
            yield from sizes(session, products, "delivered, vacuumed", TABLES)
            run(session, AGE)
            yield took("retention, without its pauses", products, lambda: tidy(session))
            session.execute(CROWD, (PARTNERS,))
            session.execute("ANALYZE")
            yield look_for_due(session)


def took(what: str, rows: int, work: Callable[[], None]) -> str:
    """Return a line about the time that something takes."""
    began = time.monotonic()
    work()
    seconds = time.monotonic() - began
    return f"{what}: {seconds:.1f} s, {rows / seconds:,.0f} a second"


def look_for_due(session: Session) -> str:
    """Return a line about the scheduler's look at endpoints, which it makes twice a second."""
    times: list[float] = []
    for _ in range(LOOKS):
        began = time.monotonic()
        due_endpoints(session)
        times.append(time.monotonic() - began)
    return f"scheduler's look, {2 * PARTNERS:,} endpoints: {median(times) * 1000:.0f} ms"


def fill(session: Session, products: int) -> None:
    """Insert the products; triggers write the outbox."""
    session.execute(INSERT, (products,))
    session.execute("ANALYZE")


def repeat(relay: Relay, session: Session) -> None:
    """Relay until nothing is left."""
    while relay.relay_batch(session):
        pass


def tidy(session: Session) -> None:
    """Remove what is old until nothing is left."""
    while delete_some(session):
        pass


def deliver(session: Session) -> None:
    """Write what workers would record of all deliveries, and give the old rows' room free."""
    run(session, DELIVER)


def run(session: Session, statements: Iterable[LiteralString]) -> None:
    """Execute each, and vacuum as autovacuum would."""
    for statement in statements:
        session.execute(statement)
        session.execute("VACUUM ANALYZE")


def sizes(session: Session, rows: int, when: str, tables: Iterable[str]) -> Generator[str]:
    """Yield each table's bytes for a row."""
    for table in tables:
        row = session.execute(SIZE, {"table": f"{ENVIRONMENT}.{table}"}).fetchone()
        if row is None:
            continue
        size = Sizes(*row)
        yield (
            f"{when}: {table}: {size.table / rows:.0f} + indexes {size.indexes / rows:.0f}"
            " bytes for a row"
        )


def measure_cache(folder: str, products: int) -> Generator[str]:
    """Yield what items take in Valkey."""
    with running_valkey(Path(folder) / "valkey") as server:
        url = f"valkey://127.0.0.1:{server.port}/0"
        client = Valkey(port=server.port)
        before = used(client)
        asyncio.run(fill_cache(url, products))
        held = client.dbsize()
        yield f"Valkey: {(used(client) - before) / held:.0f} bytes for an item, of {held:,} items"
        client.close()


def used(client: Valkey) -> int:
    """Return the bytes that Valkey uses."""
    return client.info("memory")["used_memory"]


async def fill_cache(url: str, products: int) -> None:
    """Write the products' items as the query service does."""
    cache = Cache(
        url,
        ENVIRONMENT,
        max_age=timedelta(seconds=3600),
        clock=time.time,
        availability=Availability("cache", clock=time.monotonic),
    )
    now = datetime.now(UTC)
    for first in range(1, products + 1, CACHE_BATCH):
        numbers = range(first, min(first + CACHE_BATCH, products + 1))
        rows = [StockRow(f"BENCH-{number:08}", 100, now, number) for number in numbers]
        await cache.write([entry_of(row) for row in rows], read_began=time.time())
    await cache.close()


def measure_feed(folder: Path) -> Generator[str]:
    """Yield what a query process spends on changes that nobody asked for, and what it holds."""
    with running_postgres(folder / "feed") as server, running_valkey(folder / "cache") as cache:
        migrate(server.url())
        set_role_password(server.url(), "live_query", PASSWORD)
        with connect(server.url(), "table_sizes", ENVIRONMENT) as session:
            session.execute("SET statement_timeout = 0")
            session.execute(INSERT, (FEED_PRODUCTS,))
            query = query_server(
                folder, server.url(role="live_query", password=PASSWORD), cache.url
            )
            with query as process:
                wait_until_idle(process)
                before = process.cpu_seconds()
                for first in range(1, FEED_PRODUCTS, FEED_TRANSACTION):
                    session.execute(CHANGE, (first, first + FEED_TRANSACTION - 1))
                wait_until_idle(process)
                spent = process.cpu_seconds() - before
                pages = int(Path(f"/proc/{process.process.pid}/statm").read_text().split()[1])
        yield f"change feed: {spent / FEED_PRODUCTS * 1e6:.0f} us of a query process for a change"
        size = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        yield f"a query process that holds no products: {size:.0f} MB"


if __name__ == "__main__":
    main()
