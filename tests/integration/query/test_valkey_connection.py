"""The one connection that all requests share: logged in, in step, given up when it is silent."""

import asyncio
import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from datetime import timedelta
from typing import Any

import pytest

from services.core.availability import Availability
from services.core.environments import Environment
from services.local.valkey import RunningValkey
from services.query.breaker import FAILURES
from services.query.cache import Cache, CacheAwayError
from services.query.items import Entry

IDS = [f"TABLET-{number}" for number in range(50)]


def run(url: str, work: Callable[[Cache], Coroutine[Any, Any, Any]]) -> Any:  # noqa: ANN401
    async def main() -> Any:  # noqa: ANN401
        cache = Cache(
            url,
            Environment.LIVE,
            max_age=timedelta(seconds=25),
            clock=time.time,
            availability=Availability("cache", clock=time.monotonic),
        )
        try:
            return await work(cache)
        finally:
            await cache.close()

    return asyncio.run(main())


async def write(cache: Cache) -> None:
    await cache.write([Entry(each, 5, each.encode()) for each in IDS], read_began=time.time())


def test_the_password_and_the_database_of_the_url_are_used(own_valkey: RunningValkey) -> None:
    with own_valkey.connect() as connection:
        connection.config_set("requirepass", "p@ss/word")

        async def work(cache: Cache) -> None:
            await write(cache)
            assert await cache.read(IDS[:1]) == [IDS[0].encode()]

        run(f"valkey://:p%40ss%2Fword@127.0.0.1:{own_valkey.port}/3", work)
        connection.execute_command("AUTH", "p@ss/word")
        assert connection.info("keyspace").keys() == {"db3"}


def test_a_refused_login_or_database_is_no_cache(own_valkey: RunningValkey) -> None:
    async def refused(cache: Cache) -> None:
        for _ in range(5):
            with pytest.raises(CacheAwayError):
                await cache.read(IDS)

    run(f"valkey://127.0.0.1:{own_valkey.port}/99", refused)
    run(f"valkey://:wrong@127.0.0.1:{own_valkey.port}/0", refused)


def test_all_requests_share_one_connection(own_valkey: RunningValkey) -> None:
    async def work(cache: Cache) -> None:
        await write(cache)
        await asyncio.gather(*(cache.read(IDS) for _ in range(200)))

    with own_valkey.connect() as connection:
        before = connection.info("stats")["total_connections_received"]
        run(own_valkey.url, work)
        assert connection.info("stats")["total_connections_received"] == before + 1


def test_callers_that_leave_do_not_shift_the_answers_of_others(own_valkey: RunningValkey) -> None:
    async def work(cache: Cache) -> None:
        await write(cache)

        async def ask(number: int) -> None:
            each = IDS[number % len(IDS)]
            assert await cache.read([each]) == [each.encode()]

        for round_ in range(20):
            asked = [asyncio.create_task(ask(number)) for number in range(50)]
            for _ in range(round_ % 4):
                await asyncio.sleep(0)
            for task in asked[::3]:
                task.cancel()
            done = await asyncio.gather(*asked, return_exceptions=True)
            failures = [each for each in done if isinstance(each, Exception)]
            assert not failures

    run(own_valkey.url, work)


def test_a_hanging_valkey_costs_a_few_reads_their_time_limit_and_the_others_nothing(
    own_valkey: RunningValkey,
) -> None:
    async def work(cache: Cache) -> None:
        await write(cache)
        own_valkey.process.send_signal(signal.SIGSTOP)
        took: list[float] = []
        for _ in range(200):
            began = time.monotonic()
            with pytest.raises(CacheAwayError):
                await cache.read(IDS)
            took.append(time.monotonic() - began)
        assert sum(each > 0.09 for each in took) <= FAILURES + 2
        own_valkey.process.send_signal(signal.SIGCONT)
        back = time.monotonic()
        while True:
            with contextlib.suppress(CacheAwayError):
                assert None not in await cache.read(IDS)
                break
            assert time.monotonic() - back < 5
            await asyncio.sleep(0.01)

    run(own_valkey.url, work)


def test_who_waits_when_the_breaker_opens_waits_no_longer(own_valkey: RunningValkey) -> None:
    async def work(cache: Cache) -> None:
        await write(cache)
        own_valkey.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()

        async def ask(after: float) -> float:
            await asyncio.sleep(after)
            asked = time.monotonic()
            with pytest.raises(CacheAwayError):
                await cache.read(IDS)
            return time.monotonic() - asked

        took = await asyncio.gather(*(ask(0.0) for _ in range(FAILURES)), ask(0.08))
        assert took[-1] < 0.08, (took, time.monotonic() - began)

    run(own_valkey.url, work)


@contextlib.contextmanager
def stub(answer: bytes) -> Generator[tuple[str, list[bytes]]]:
    """Run a server that gives one answer to whatever it reads; give its URL and what it read."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[bytes] = []
    open_: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while data := connection.recv(1 << 16):
                seen.append(data)
                connection.sendall(answer)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            open_.append(connection)
            threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
            threads[-1].start()

    threads = [threading.Thread(target=accept, daemon=True)]
    threads[0].start()
    try:
        yield f"valkey://127.0.0.1:{listener.getsockname()[1]}/0", seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)


@pytest.mark.parametrize(
    "answer",
    [
        b"-LOADING Valkey is loading the dataset in memory\r\n",
        b"-BUSY a script runs\r\n",
        b"+PONG\r\n",  # to everything
        b"+PONG\r\n+MORE\r\n",  # more answers than questions
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"*1000000000\r\n",
        b"\0" * 10,
    ],
)
def test_a_server_that_answers_errors_or_nonsense_is_soon_left_alone(answer: bytes) -> None:
    async def work(cache: Cache) -> None:
        for _ in range(30):
            with pytest.raises(CacheAwayError):
                await cache.read(IDS)
        asked = len(seen)
        for _ in range(1000):
            with pytest.raises(CacheAwayError):
                await cache.read(IDS)
        assert len(seen) <= asked + 2  # a probe may have come in between

    with stub(answer) as (url, seen):
        run(url, work)
        assert len(seen) < 20
