"""Inventory: what both apps ask; a batch of ids becomes items, from the cache or the database."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from services.query.cache import Cache, CacheAwayError
from services.query.items import Entry
from services.query.store import Store

FILLS = 32  # cache writes under way at once; one more is left out, the next reader does it
FILLS_END_WITHIN = 1.0  # seconds that a shutdown waits for them


class Found(NamedTuple):
    """Items as JSON bytes and unknown ids, both in the order of the request (Q5)."""

    items: list[bytes]
    not_found: list[str]


class Inventory:
    """The stock of one environment."""

    def __init__(self, store: Store, cache: Cache, *, clock: Callable[[], float]) -> None:
        """Take the clock (seconds since 1970)."""
        self._store = store
        self._cache = cache
        self._clock = clock
        self._fills: set[asyncio.Task[None]] = set()

    async def find(self, product_ids: Sequence[str]) -> Found:
        """Look up ids, none of them twice. Raises DatabaseAwayError."""
        try:
            items = await self._cache.read(product_ids)
        except CacheAwayError:
            items: list[bytes | None] = [None] * len(product_ids)
        if None in items:
            items = await self._complete(product_ids, items)
        return Found(
            [item for item in items if item],
            [each for each, item in zip(product_ids, items, strict=True) if not item],
        )

    async def close(self) -> None:
        """Wait a little for cache writes under way."""
        if self._fills:
            await asyncio.wait(self._fills, timeout=FILLS_END_WITHIN)

    async def _complete(
        self, product_ids: Sequence[str], items: Sequence[bytes | None]
    ) -> list[bytes | None]:
        """Read what the cache did not know, in one query, and let the cache know."""
        missing = [each for each, item in zip(product_ids, items, strict=True) if item is None]
        read_began = self._clock()
        entries = await self._store.read(missing)
        self._fill(entries, read_began)
        fresh = iter(entries)
        return [next(fresh).item if item is None else item for item in items]

    def _fill(self, entries: list[Entry], read_began: float) -> None:
        """Write to the cache off the request's path."""
        if len(self._fills) < FILLS:
            task = asyncio.create_task(self._write(entries, read_began))
            self._fills.add(task)
            task.add_done_callback(self._fills.discard)

    async def _write(self, entries: list[Entry], read_began: float) -> None:
        try:
            await self._cache.write(entries, read_began=read_began)
        except CacheAwayError:
            return  # told by the cache's availability; the next reader tries again
