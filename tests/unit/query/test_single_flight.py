"""One flight for each id, however many wait (PERFORMANCE: misses)."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import pytest

from services.query.single_flight import Flights


class Source:
    """What is fetched from; answers when it is let."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.let = asyncio.Event()
        self.failure: Exception | None = None

    async def fetch(self, ids: Sequence[str]) -> Mapping[str, int]:
        number = len(self.asked)
        self.asked.append(list(ids))
        await self.let.wait()
        if self.failure:
            raise self.failure
        return dict.fromkeys(ids, number)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def begun(flights: Flights[int], *ids: str) -> "asyncio.Task[dict[str, int]]":
    task = asyncio.create_task(flights.get(ids))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


def test_ids_under_way_are_not_asked_for_again_and_the_others_go_together() -> None:
    async def check() -> None:
        source = Source()
        flights = Flights(source.fetch)
        first = await begun(flights, "A", "B")
        second = await begun(flights, "B", "C", "D")
        third = await begun(flights, "A", "D")
        source.let.set()
        assert await first == {"A": 0, "B": 0}
        assert await second == {"B": 0, "C": 1, "D": 1}
        assert await third == {"A": 0, "D": 1}
        assert source.asked == [["A", "B"], ["C", "D"]]

    run(check())


def test_a_thousand_who_wait_for_one_id_are_one_fetch() -> None:
    async def check() -> None:
        source = Source()
        flights = Flights(source.fetch)
        waiting = [asyncio.create_task(flights.get(["A"])) for _ in range(1_000)]
        await asyncio.sleep(0)
        source.let.set()
        assert await asyncio.gather(*waiting) == [{"A": 0}] * 1_000
        assert source.asked == [["A"]]

    run(check())


def test_who_comes_after_the_end_starts_anew() -> None:
    async def check() -> None:
        source = Source()
        source.let.set()
        flights = Flights(source.fetch)
        assert await flights.get(["A"]) == {"A": 0}
        assert await flights.get(["A"]) == {"A": 1}

    run(check())


def test_a_waiter_who_is_cancelled_ends_no_flight() -> None:
    async def check() -> None:
        source = Source()
        flights = Flights(source.fetch)
        first = await begun(flights, "A")
        second = await begun(flights, "A")
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        source.let.set()
        assert await second == {"A": 0}

    run(check())


def test_a_failure_is_for_those_who_wait_and_not_for_who_comes_later() -> None:
    async def check() -> None:
        source = Source()
        source.failure = OSError("away")
        flights = Flights(source.fetch)
        waiting = [await begun(flights, "A"), await begun(flights, "A", "B")]
        source.let.set()
        for each in waiting:
            with pytest.raises(OSError, match="away"):
                await each
        source.failure = None
        assert await flights.get(["A", "B"]) == {"A": 2, "B": 2}

    run(check())


def test_a_failure_that_nobody_waits_for_any_more_disturbs_nobody() -> None:
    complaints: list[Any] = []

    async def check() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: complaints.append(context)
        )
        source = Source()
        source.failure = OSError("away")
        flights = Flights(source.fetch)
        waiting = await begun(flights, "A")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        source.let.set()
        await asyncio.sleep(0.01)

    run(check())
    assert complaints == []
