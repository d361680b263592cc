"""Inventory: what both apps ask; a batch of ids becomes items.

Memory is asked first, then Valkey, then PostgreSQL; each looks only for what those before did not
know.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from services.core.background import going_on
from services.query.cache import Cache, CacheAwayError
from services.query.items import ABSENT, Entry
from services.query.memory import Memory
from services.query.refreshing import Refresher
from services.query.single_flight import Flights
from services.query.store import DatabaseBusyError, Store

FILLS = 32  # cache writes under way at once; one more is left out, the next reader does it
WAITING = 1_024  # requests that wait for PostgreSQL; one more is refused at once
FILLS_END_WITHIN = 1.0  # seconds that a shutdown waits for them

Items = list[bytes | None]  # for each id its item, ABSENT, or None where it is not known


class Lookups:
    """How many ids each level was asked for, and how many it knew; plain numbers, 0.1 us a request.

    No ids of what ages and is read again beside the requests.
    """

    __slots__ = (
        "memory_hits",
        "memory_misses",
        "postgresql_hits",
        "postgresql_misses",
        "valkey_hits",
        "valkey_misses",
    )

    def __init__(self) -> None:
        """Begin at zero."""
        self.memory_hits = self.memory_misses = 0
        self.valkey_hits = self.valkey_misses = 0  # none of both while it is away
        self.postgresql_hits = self.postgresql_misses = 0  # a miss is no product


class Found(NamedTuple):
    """Items, finished JSON each, and unknown ids; both in the order of the request (Q5)."""

    items: list[bytes]
    not_found: list[str]


class Inventory:
    """The stock of one environment."""

    def __init__(
        self, store: Store, cache: Cache, memory: Memory, *, clock: Callable[[], float]
    ) -> None:
        """Take the clock (seconds since 1970)."""
        self._store = store
        self._cache = cache
        self._memory = memory
        self._clock = clock
        self.lookups = Lookups()
        # Of PostgreSQL only: a second MGET of an id costs less than to find and wait for the first.
        self._flights = Flights(self._from_database)
        self._refresher = Refresher(memory, self._flights.get)
        self._waiting = 0  # requests
        self._fills: set[asyncio.Task[None]] = set()

    async def find(self, product_ids: Sequence[str]) -> Found:
        """Look up ids, none of them twice. Raises DatabaseAwayError."""
        hot = self._memory.hot(product_ids)
        if hot is not None:
            self.lookups.memory_hits += len(hot)
            return Found(hot, [])
        items = self._memory.look(product_ids)
        missing = items.count(None)
        self.lookups.memory_hits += len(items) - missing
        self.lookups.memory_misses += missing
        if self._memory.aging:
            self._refresher.wake()
        if missing:
            items = _completed(items, await self._from_cache(_missing(product_ids, items)))
        if None in items:
            items = _completed(items, await self._from_flights(_missing(product_ids, items)))
        return Found(
            [item for item in items if item],
            [each for each, item in zip(product_ids, items, strict=True) if not item],
        )

    async def close(self) -> None:
        """Wait a little for cache writes under way."""
        self._refresher.close()
        if self._fills:
            await asyncio.wait(self._fills, timeout=FILLS_END_WITHIN)

    async def _from_cache(self, product_ids: list[str]) -> Items:
        try:
            items = await self._known_to_cache(product_ids)
        except CacheAwayError:
            return [None] * len(product_ids)
        missing = items.count(None)
        self.lookups.valkey_hits += len(items) - missing
        self.lookups.valkey_misses += missing
        return items

    async def _known_to_cache(self, product_ids: list[str]) -> Items:
        if self._memory.off:
            return await self._cache.read(product_ids)
        entries = await self._cache.read_entries(product_ids)
        # 4 us for each; what memory has learned meanwhile may be newer.
        return [found and self._memory.put(*found) for found in entries]

    async def _from_flights(self, product_ids: list[str]) -> Items:
        if self._waiting >= WAITING:
            raise DatabaseBusyError
        self._waiting += 1
        try:
            items: Items = list((await self._flights.get(product_ids)).values())
        finally:
            self._waiting -= 1
        unknown = items.count(ABSENT)
        self.lookups.postgresql_hits += len(items) - unknown
        self.lookups.postgresql_misses += unknown
        return items

    async def _from_database(self, product_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Read these in one query, and let memory and the cache know."""
        read_began = self._clock()
        entries = await self._store.read(product_ids)
        self._fill(entries, read_began)
        return {entry.product_id: self._memory.put(entry, read_began) for entry in entries}

    def _fill(self, entries: list[Entry], read_began: float) -> None:
        """Write to the cache off the request's path."""
        if len(self._fills) < FILLS:
            task = asyncio.create_task(self._write(entries, read_began))
            self._fills.add(task)
            task.add_done_callback(self._fills.discard)

    async def _write(self, entries: list[Entry], read_began: float) -> None:
        with going_on("cache_fill.failed"):
            try:
                await self._cache.write(entries, read_began=read_began)
            except CacheAwayError:
                return  # told by the cache's availability; the next reader tries again


def _missing(product_ids: Sequence[str], items: Items) -> list[str]:
    return [each for each, item in zip(product_ids, items, strict=True) if item is None]


def _completed(items: Items, more: Items) -> Items:
    """Return items with what was found, in order, where they lacked one."""
    if len(more) == len(items):
        return more
    found = iter(more)
    return [next(found) if item is None else item for item in items]
