"""Flights: one fetch for each id, however many requests wait for it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Flights(Generic[T]):
    """Fetches of this process that are under way."""

    def __init__(self, fetch: Callable[[Sequence[str]], Awaitable[Mapping[str, T]]]) -> None:
        """`fetch` returns something for every id that it is given, or raises."""
        self._read = fetch
        self._flights: dict[str, asyncio.Task[Mapping[str, T]]] = {}

    async def get(self, ids: Sequence[str]) -> dict[str, T]:
        """Return what is fetched for each id; ids that nobody fetches yet go in one batch.

        Raises what the fetch of any of them raised. Whoever is cancelled ends no flight: others
        wait for it, and what it finds is kept for those who come.
        """
        flights = self._flights
        not_in_flight = [each for each in ids if each not in flights]
        if not_in_flight:
            task = asyncio.create_task(self._fetch(not_in_flight))
            task.add_done_callback(_note_failure)
            flights.update(dict.fromkeys(not_in_flight, task))
        joined = [(each, flights[each]) for each in ids]
        # Unlike gather and a plain await, wait leaves the tasks alone when it is cancelled.
        await asyncio.wait({task for _, task in joined})
        return {each: task.result()[each] for each, task in joined}

    async def _fetch(self, ids: Sequence[str]) -> Mapping[str, T]:
        try:
            return await self._read(ids)
        finally:  # with no await in between: whoever comes from now on starts anew
            for each in ids:
                del self._flights[each]


def _note_failure(task: asyncio.Task[Mapping[str, T]]) -> None:
    """Take note of an exception, lest asyncio complains when every waiter has gone away."""
    if not task.cancelled():
        task.exception()
