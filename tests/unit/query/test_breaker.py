"""When a breaker opens, what it costs while open, and how it closes by itself (Q9)."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from structlog.testing import capture_logs

from services.core.availability import Availability
from services.query import breaker as under_test
from services.query.breaker import FAILURES, PROBE_FIRST, PROBE_MOST, Breaker, ServerAwayError
from tests.clock import Clock


class Server:
    """Something to probe."""

    def __init__(self) -> None:
        """It is away."""
        self.is_well = False
        self.probes: list[float] = []
        self.at_once = 0
        self.most_at_once = 0
        self.dropped = 0

    async def probe(self) -> None:
        """Take a while, as a server does."""
        self.probes.append(time.monotonic())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        if not self.is_well:
            raise ServerAwayError

    def drop(self) -> None:
        """Note that connections are given up."""
        self.dropped += 1


def run(work: Callable[[Breaker, Server, Clock], Awaitable[None]]) -> None:
    async def main() -> None:
        server, clock = Server(), Clock()
        told = Availability("cache", clock=time.monotonic)
        breaker = Breaker(server.probe, opened=server.drop, availability=told, clock=clock)
        try:
            await work(breaker, server, clock)
        finally:
            breaker.close()

    asyncio.run(main())


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.failed(TimeoutError("slow"))


async def until(condition: Callable[[], bool], within: float = 5.0) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 -- the code under test raises no event
            await asyncio.sleep(0.005)


def test_failures_in_a_row_open_it_however_slowly_they_come() -> None:
    async def work(breaker: Breaker, server: Server, clock: Clock) -> None:
        for _ in range(FAILURES - 1):
            fail(breaker)
            clock.now += 60
        assert not breaker.is_open
        fail(breaker)
        assert breaker.is_open
        assert (server.dropped, breaker.times_opened) == (1, 1)

    run(work)


def test_failures_between_successes_open_it_only_when_they_come_quickly() -> None:
    async def work(breaker: Breaker, server: Server, clock: Clock) -> None:
        for _ in range(10):
            fail(breaker)
            clock.now += 0.6
            breaker.succeeded()
        assert not breaker.is_open
        for _ in range(FAILURES):
            fail(breaker)
            clock.now += 0.1
            breaker.succeeded()
        assert breaker.is_open

    run(work)


def test_it_probes_one_at_a_time_ever_more_rarely_and_closes_by_itself() -> None:
    async def work(breaker: Breaker, server: Server, clock: Clock) -> None:
        fail(breaker, 100)
        began = time.monotonic()
        await until(lambda: len(server.probes) == 4)
        assert server.most_at_once == 1
        waits = [b - a for a, b in zip([began, *server.probes], server.probes, strict=False)]
        for wait, expected in zip(waits, (1, 2, 4, 8), strict=True):
            assert wait >= expected * PROBE_FIRST
        server.is_well = True
        back = time.monotonic()
        await until(lambda: not breaker.is_open)
        assert time.monotonic() - back < PROBE_MOST + 0.5

    run(work)


def test_a_server_that_soon_fails_again_is_not_probed_as_eagerly_as_before() -> None:
    async def work(breaker: Breaker, server: Server, clock: Clock) -> None:
        server.is_well = True
        pauses: list[float] = []
        for _ in range(3):
            fail(breaker, FAILURES)
            began = time.monotonic()
            await until(lambda: not breaker.is_open)
            pauses.append(time.monotonic() - began)
        assert pauses[0] < pauses[1] < pauses[2]
        clock.now += under_test.STEADY
        fail(breaker, FAILURES)
        began = time.monotonic()
        await until(lambda: not breaker.is_open)
        assert time.monotonic() - began < pauses[2]

    run(work)


def test_an_outage_is_told_once_at_each_end_even_when_nobody_asks() -> None:
    async def work(breaker: Breaker, server: Server, clock: Clock) -> None:
        fail(breaker, FAILURES)
        await until(lambda: len(server.probes) == 2)
        server.is_well = True
        with capture_logs() as later:
            await until(lambda: bool(later))
        assert [event["event"] for event in later] == ["cache.back"]

    with capture_logs() as logs:
        run(work)
    assert [event["event"] for event in logs] == ["cache.away"]


def test_a_probe_that_fails_in_an_unknown_way_does_not_end_the_probing() -> None:
    async def work(breaker: Breaker, server: Server, clock: Clock) -> None:
        fail(breaker, FAILURES)
        server.at_once = "nonsense"  # type: ignore[assignment]
        await until(lambda: bool(server.probes))
        server.at_once, server.is_well = 0, True
        await until(lambda: not breaker.is_open)

    run(work)
