"""The feed of changes: misses nothing, whatever order transactions become visible in (Q7)."""

import asyncio
import random
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, Connection

from services.core.availability import Availability
from services.core.database import connection_options
from services.core.environments import Environment
from services.local.valkey import RunningValkey
from services.query.cache import Cache, CacheAwayError
from services.query.changes import BATCH, ChangeFeed
from services.query.items import Entry
from services.query.memory import Bounds, Memory
from tests.conftest import Database

SET = "UPDATE live.products SET quantity = %s WHERE product_id = %s"


class RecordingCache:
    """Takes what the feed writes; can be away."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.batches: list[int] = []
        self.away = False

    async def write(self, entries: list[Entry], *, read_began: float) -> int:
        assert read_began
        if self.away:
            raise CacheAwayError
        self.batches.append(len(entries))
        for entry in entries:
            known = self.entries.get(entry.product_id)
            if known is None or known.version < entry.version:
                self.entries[entry.product_id] = entry
        return len(entries)

    def quantity(self, product_id: str) -> int | None:
        item = self.entries[product_id].item
        return int(item.split(b'"quantity":')[1].split(b",")[0]) if item else None


@pytest.fixture
def ids(database: Database) -> list[str]:
    with psycopg.connect(database.owner_url) as connection:
        rows = connection.execute("SELECT product_id FROM live.products ORDER BY 1").fetchall()
    return [row[0] for row in rows]


@pytest.fixture
def writer(database: Database) -> Generator[Connection[Any]]:
    with psycopg.connect(database.url("live_stock"), autocommit=True) as connection:
        yield connection


def feed_for(
    database: Database,
    cache: object,
    clock: Callable[[], float],
    memory: Memory | None = None,
) -> ChangeFeed:
    return ChangeFeed(
        database.url("live_query"),
        Environment.LIVE,
        cache,  # type: ignore[arg-type] -- the one method that it calls
        memory or Memory(Bounds(0, 0), max_age=timedelta(seconds=25), clock=clock),
        poll=timedelta(seconds=1),
        max_age=timedelta(seconds=25),
        clock=clock,
        availability=Availability("changes", clock=time.monotonic),
    )


async def reading(database: Database) -> AsyncConnection[Any]:
    """Return a connection as the feed opens it."""
    options = connection_options("a test", Environment.LIVE)
    return await AsyncConnection.connect(database.url("live_query"), **options)


@asynccontextmanager
async def opened(
    database: Database, cache: object, clock: Callable[[], float] = time.time
) -> AsyncGenerator[Callable[[], Awaitable[int]]]:
    """Give the feed's catch_up on a connection; it has looked once."""
    feed = feed_for(database, cache, clock)
    connection = await reading(database)
    async with connection:
        await feed.catch_up(connection)
        yield lambda: feed.catch_up(connection)


def test_changes_inserts_and_removals_are_seen_once(
    database: Database, ids: list[str], writer: Connection[Any]
) -> None:
    async def check() -> None:
        cache = RecordingCache()
        async with opened(database, cache) as catch_up:
            writer.execute(SET, [777, ids[0]])
            writer.execute(SET, [778, ids[0]])
            writer.execute("DELETE FROM live.products WHERE product_id = %s", [ids[1]])
            writer.execute("INSERT INTO live.products (product_id, quantity) VALUES ('NEW', 3)")
            assert await catch_up() == 3
            seen = {each: cache.quantity(each) for each in (ids[0], ids[1], "NEW")}
            assert seen == {ids[0]: 778, ids[1]: None, "NEW": 3}
            assert cache.entries[ids[1]].version > 0
            assert await catch_up() == 0

    asyncio.run(check())


def test_a_transaction_that_commits_late_is_seen_though_later_ones_were_before(
    database: Database, ids: list[str], writer: Connection[Any]
) -> None:
    async def check() -> None:
        cache = RecordingCache()
        url = database.url("live_stock")
        async with opened(database, cache) as catch_up:
            with psycopg.connect(url) as early, psycopg.connect(url) as middle:
                early.execute(SET, [101, ids[0]])  # takes the lower xid and ids
                middle.execute(SET, [102, ids[1]])
                writer.execute(SET, [103, ids[2]])  # commits first
                assert await catch_up() == 1
                middle.commit()
                assert await catch_up() == 1
                writer.execute(SET, [104, ids[2]])
                assert await catch_up() == 1
                early.commit()
                assert await catch_up() == 1
            assert [cache.quantity(each) for each in ids[:3]] == [101, 102, 104]

    asyncio.run(check())


def test_a_long_open_transaction_neither_hides_nor_repeats_changes(
    database: Database, ids: list[str], writer: Connection[Any]
) -> None:
    async def check() -> None:
        cache = RecordingCache()
        with psycopg.connect(database.url("live_stock")) as forgotten:
            forgotten.execute(SET, [1, ids[99]])  # holds the horizon of every snapshot
            async with opened(database, cache) as catch_up:
                for number in range(20):
                    writer.execute(SET, [5_000 + number, ids[number]])
                    assert await catch_up() == 1
                forgotten.rollback()
                assert await catch_up() == 0
        assert [cache.quantity(each) for each in ids[:20]] == list(range(5_000, 5_020))

    asyncio.run(check())


def test_changes_of_savepoints_count_with_their_transaction(
    database: Database, ids: list[str], writer: Connection[Any]
) -> None:
    async def check() -> None:
        cache = RecordingCache()
        async with opened(database, cache) as catch_up:
            with writer.transaction():
                with writer.transaction():
                    writer.execute(SET, [201, ids[0]])
                assert await catch_up() == 0
            assert await catch_up() == 1
            assert cache.quantity(ids[0]) == 201

    asyncio.run(check())


def test_nothing_is_missed_while_many_write_at_random(database: Database, ids: list[str]) -> None:
    """Eight writers with transactions of random length, a feed that looks all the time."""
    stop = threading.Event()

    def write(seed: int) -> None:
        chance = random.Random(seed)
        with psycopg.connect(database.url("live_stock"), autocommit=True) as connection:
            for _ in range(60):
                # Sorted, so that two writers never wait for each other in a circle.
                chosen = sorted(chance.sample(ids[:150], chance.randint(1, 4)))
                with connection.transaction(force_rollback=chance.random() < 0.1):
                    for product_id in chosen:
                        connection.execute(SET, [chance.randint(0, 10_000), product_id])
                        time.sleep(chance.random() * 0.004)

    async def follow(cache: RecordingCache) -> None:
        async with opened(database, cache) as catch_up:
            ready.set()
            while not stop.is_set():
                await catch_up()
            await catch_up()

    ready = threading.Event()
    cache = RecordingCache()
    follower = threading.Thread(target=lambda: asyncio.run(follow(cache)))
    follower.start()
    assert ready.wait(timeout=10)
    writers = [threading.Thread(target=write, args=[seed]) for seed in range(8)]
    for each in writers:
        each.start()
    for each in writers:
        each.join(timeout=40)
    stop.set()
    follower.join(timeout=20)
    with psycopg.connect(database.owner_url) as connection:
        changed = connection.execute(
            "SELECT product_id, quantity FROM live.products WHERE version > 5000"
        ).fetchall()
    assert len(changed) > 100
    assert {each: cache.quantity(each) for each in cache.entries} == dict(changed)


def test_five_thousand_changes_are_written_in_batches(
    database: Database, writer: Connection[Any]
) -> None:
    async def check() -> None:
        cache = RecordingCache()
        async with opened(database, cache) as catch_up:
            writer.execute("UPDATE live.products SET quantity = quantity + 1")
            assert await catch_up() == 5_000
        assert max(cache.batches) <= BATCH
        assert len(cache.entries) == 5_000

    asyncio.run(check())


def test_what_the_cache_did_not_take_is_told_again_until_it_would_have_expired(
    database: Database, ids: list[str], writer: Connection[Any]
) -> None:
    now = 1_000_000.0

    async def check() -> None:
        nonlocal now
        cache = RecordingCache()
        async with opened(database, cache, lambda: now) as catch_up:
            cache.away = True
            writer.execute(SET, [301, ids[0]])
            assert [await catch_up(), await catch_up()] == [1, 1]
            cache.away = False
            assert [await catch_up(), await catch_up()] == [1, 0]
            assert cache.quantity(ids[0]) == 301
            cache.away = True
            writer.execute(SET, [302, ids[0]])
            assert await catch_up() == 1
            now += 26
            assert [await catch_up(), await catch_up()] == [1, 0]

    asyncio.run(check())


def test_memory_is_told_though_the_cache_takes_nothing(
    database: Database, ids: list[str], writer: Connection[Any]
) -> None:
    async def check() -> None:
        cache = RecordingCache()
        cache.away = True
        memory = Memory(Bounds(10_000, 10_000_000), max_age=timedelta(seconds=25), clock=time.time)
        feed = feed_for(database, cache, time.time, memory)
        connection = await reading(database)
        async with connection:
            await feed.catch_up(connection)
            writer.execute("UPDATE live.products SET quantity = 4242")
            assert await feed.catch_up(connection) == 5_000
        items = memory.look(ids)
        assert all(item is not None and b'"quantity":4242,' in item for item in items)

    asyncio.run(check())


def test_a_database_that_is_not_as_far_on_as_before_is_taken_as_new(
    database: Database, ids: list[str], writer: Connection[Any]
) -> None:
    async def check() -> None:
        cache = RecordingCache()
        feed = feed_for(database, cache, time.time)
        feed._seen = "900000000:900000000:"
        connection = await reading(database)
        async with connection:
            assert await feed.catch_up(connection) == 0
            writer.execute(SET, [401, ids[0]])
            assert await feed.catch_up(connection) == 1

    asyncio.run(check())


def test_the_feed_survives_its_connections_and_misses_nothing_meanwhile(
    database: Database, ids: list[str], writer: Connection[Any]
) -> None:
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"

    async def until(done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while not done():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    async def check() -> None:
        cache = RecordingCache()
        feed = feed_for(database, cache, time.time)
        running = asyncio.create_task(feed.run())
        try:
            await until(lambda: feed._seen is not None)
            for number in range(3):
                writer.execute(SET, [501 + number, ids[number]])
                await until(lambda n=number: ids[n] in cache.entries)
                with psycopg.connect(database.owner_url, autocommit=True) as owner:
                    found = 0
                    while found == 0:
                        found = len(owner.execute(kill, ["query changes"]).fetchall())
                        await asyncio.sleep(0.01)
                writer.execute(SET, [601 + number, ids[number]])
                await until(lambda n=number: cache.quantity(ids[n]) == 601 + n)
        finally:
            running.cancel()
            await asyncio.wait({running})

    asyncio.run(check())


def test_the_feed_writes_through_to_a_real_cache(
    database: Database, ids: list[str], writer: Connection[Any], valkey: RunningValkey
) -> None:
    async def check() -> None:
        cache = Cache(
            valkey.url,
            Environment.LIVE,
            max_age=timedelta(seconds=25),
            clock=time.time,
            availability=Availability("cache", clock=time.monotonic),
        )
        async with opened(database, cache) as catch_up:
            writer.execute("UPDATE live.products SET quantity = 4242")
            await catch_up()
            items = await cache.read(ids)
        await cache.close()
        assert all(item is not None and b'"quantity":4242,' in item for item in items)

    asyncio.run(check())


def test_what_memory_learned_before_the_first_look_is_not_believed(database: Database) -> None:
    """It may have changed before that look, and the feed would never tell."""

    async def check() -> None:
        now = time.time()
        memory = Memory(Bounds(100, 100_000), max_age=timedelta(seconds=25), clock=time.time)
        memory.put(Entry("EARLY", 1, b"{}"), now - 1)
        feed = feed_for(database, RecordingCache(), time.time, memory)
        connection = await reading(database)
        async with connection:
            await feed.catch_up(connection)
            assert memory.look(["EARLY"]) == [None]
            memory.put(Entry("LATE", 1, b"{}"), time.time())
            await feed.catch_up(connection)
            assert memory.look(["LATE"]) == [b"{}"]

    asyncio.run(check())
