"""The way of a query: memory, Valkey, PostgreSQL; each is asked only for what those before lack."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any

import pytest

from services.core.database_calls import DatabaseAwayError
from services.query.cache import CacheAwayError
from services.query.inventory import WAITING, Found, Inventory
from services.query.items import ABSENT, Entry
from services.query.memory import Bounds, Memory
from services.query.store import DatabaseBusyError

NOW = 1_000_000.0
ROOMY = Bounds(1_000, 1_000_000)


class FakeStore:
    """PostgreSQL: answers with the versions of the moment when it is let."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.asked: list[list[str]] = []
        self.began, self.let = asyncio.Event(), asyncio.Event()
        self.let.set()
        self.away = False

    async def read(self, product_ids: Sequence[str]) -> list[Entry]:
        self.asked.append(list(product_ids))
        if self.away:
            raise DatabaseAwayError
        found = [entry(each, self.versions.get(each, 0)) for each in product_ids]
        self.began.set()
        await self.let.wait()
        return found


class FakeCache:
    """Valkey."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[Entry, float]] = {}
        self.asked: list[list[str]] = []
        self.away = False

    async def read_entries(self, product_ids: Sequence[str]) -> list[tuple[Entry, float] | None]:
        self.asked.append(list(product_ids))
        if self.away:
            raise CacheAwayError
        return [self.entries.get(each) for each in product_ids]

    async def read(self, product_ids: Sequence[str]) -> list[bytes | None]:
        found = await self.read_entries(product_ids)
        return [each and each[0].item for each in found]

    async def write(self, entries: Sequence[Entry], *, read_began: float) -> int:
        if self.away:
            raise CacheAwayError
        self.entries.update({each.product_id: (each, read_began) for each in entries})
        return len(entries)


class Setup:
    """An inventory on fakes."""

    def __init__(self, bounds: Bounds) -> None:
        self.now = NOW
        self.store, self.cache = FakeStore(), FakeCache()
        max_age = timedelta(seconds=25)
        self.memory = Memory(bounds, max_age=max_age, clock=lambda: self.now)
        self.inventory = Inventory(
            self.store,  # type: ignore[arg-type]
            self.cache,  # type: ignore[arg-type]
            self.memory,
            clock=lambda: self.now,
        )

    async def find(self, *product_ids: str) -> Found:
        found = await self.inventory.find(product_ids)
        await self.inventory.close()  # what was read is in the cache
        return found


def entry(product_id: str, version: int) -> Entry:
    item = b"{%s %d}" % (product_id.encode(), version) if version else ABSENT
    return Entry(product_id, version, item)


def run(check: Callable[[Setup], Coroutine[Any, Any, None]], bounds: Bounds = ROOMY) -> None:
    async def main() -> None:
        await check(Setup(bounds))

    asyncio.run(main())


def test_only_what_is_missing_goes_on_and_in_one_batch() -> None:
    async def check(setup: Setup) -> None:
        setup.store.versions = {"A": 1, "B": 2, "C": 3, "D": 4}
        await setup.find("A")
        setup.cache.entries["B"] = (entry("B", 2), NOW)
        found = await setup.find("C", "A", "X", "B", "D")
        assert found == Found([b"{C 3}", b"{A 1}", b"{B 2}", b"{D 4}"], ["X"])
        assert setup.cache.asked == [["A"], ["C", "X", "B", "D"]]
        assert setup.store.asked == [["A"], ["C", "X", "D"]]
        # Now all of it is here, the product that is not there too.
        assert await setup.find("C", "A", "X", "B", "D") == found
        assert (len(setup.cache.asked), len(setup.store.asked)) == (2, 2)

    run(check)


def test_each_level_counts_the_ids_that_it_knew_and_those_that_it_did_not() -> None:
    async def check(setup: Setup) -> None:
        setup.store.versions = {"A": 1, "B": 2}
        setup.cache.entries["C"] = (entry("C", 3), NOW)
        counted = setup.inventory.lookups
        await setup.find("A", "B", "C", "X")
        assert (counted.memory_hits, counted.memory_misses) == (0, 4)
        assert (counted.valkey_hits, counted.valkey_misses) == (1, 3)
        assert (counted.postgresql_hits, counted.postgresql_misses) == (2, 1)
        await setup.find("A", "B", "C")
        await setup.find("A", "X")  # that there is none is known, too
        assert (counted.memory_hits, counted.memory_misses) == (5, 4)
        setup.cache.away = True
        await setup.find("Y")
        assert (counted.valkey_hits, counted.valkey_misses) == (1, 3)
        assert (counted.postgresql_hits, counted.postgresql_misses) == (2, 2)

    run(check)


def test_what_comes_from_valkey_keeps_its_age() -> None:
    async def check(setup: Setup) -> None:
        setup.cache.entries["A"] = (entry("A", 1), NOW - 24)
        await setup.find("A")
        setup.now += 0.9
        await setup.find("A")
        assert setup.cache.asked == [["A"]]
        setup.now += 0.2
        await setup.find("A")
        assert setup.cache.asked == [["A"], ["A"]]

    run(check)


def test_a_change_during_a_read_is_what_is_told_and_kept() -> None:
    async def check(setup: Setup) -> None:
        setup.store.versions["A"] = 5
        setup.store.let.clear()
        reading = asyncio.create_task(setup.find("A"))
        await setup.store.began.wait()
        setup.memory.follow([entry("A", 6)], read_began=setup.now)
        setup.store.let.set()
        assert (await reading).items == [b"{A 6}"]
        assert (await setup.find("A")).items == [b"{A 6}"]

    run(check)


def test_many_who_ask_for_the_same_at_once_are_one_read() -> None:
    async def check(setup: Setup) -> None:
        setup.store.versions = {"A": 1, "B": 2}
        answers = await asyncio.gather(*(setup.find("A", "B") for _ in range(50)))
        assert all(found.items == [b"{A 1}", b"{B 2}"] for found in answers)
        assert setup.store.asked == [["A", "B"]]

    run(check)


def test_what_ages_is_read_again_beside_the_request_and_lasts_while_postgresql_is_away() -> None:
    async def check(setup: Setup) -> None:
        setup.store.versions = {"A": 1}
        await setup.find("A")
        setup.now += 20
        setup.cache.entries.clear()
        setup.store.away = True
        deadline = time.monotonic() + 5
        while len(setup.store.asked) < 3:
            assert await setup.inventory.find(["A"]) == Found([b"{A 1}"], [])
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        setup.store.away = False
        setup.store.versions = {"A": 2}
        while await setup.inventory.find(["A"]) == Found([b"{A 1}"], []):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        setup.now += 20
        assert await setup.find("A") == Found([b"{A 2}"], [])

    run(check)


def test_requests_do_not_wait_for_postgresql_without_end() -> None:
    async def check(setup: Setup) -> None:
        setup.store.let.clear()
        waiting = [asyncio.create_task(setup.inventory.find(["A"])) for _ in range(WAITING)]
        await setup.store.began.wait()
        await asyncio.sleep(0)
        with pytest.raises(DatabaseBusyError):
            await setup.inventory.find(["A"])
        setup.store.let.set()
        assert await asyncio.gather(*waiting) == [Found([], ["A"])] * WAITING
        assert await setup.inventory.find(["A"]) == Found([], ["A"])

    run(check)


def test_without_valkey_and_without_memory_postgresql_answers() -> None:
    async def check(setup: Setup) -> None:
        setup.store.versions["A"] = 1
        setup.cache.away = True
        for _ in range(2):
            assert await setup.find("X", "A") == Found([b"{A 1}"], ["X"])
        assert setup.store.asked == [["X", "A"]] * 2
        setup.cache.away = False
        await setup.find("X", "A")
        await setup.find("X", "A")
        assert len(setup.store.asked) == 3

    run(check, Bounds(0, 0))
