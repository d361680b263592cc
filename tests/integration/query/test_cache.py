"""What the cache promises: no older version over a newer one, nothing older than its bound (Q7)."""

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

from services.core.availability import Availability
from services.core.environments import Environment
from services.local.valkey import RunningValkey
from services.query.cache import CLOCK_SKEW_MS, Cache, CacheAwayError
from services.query.items import ABSENT, Entry

KEY = "live:item:A"
Work = Callable[[Cache], Coroutine[Any, Any, Any]]


def run(
    server: RunningValkey,
    work: Work,
    *,
    clock: Callable[[], float] = time.time,
    max_age: float = 25,
    environment: Environment = Environment.LIVE,
) -> Any:  # noqa: ANN401 -- whatever the work returns
    async def main() -> Any:  # noqa: ANN401
        cache = Cache(
            server.url,
            environment,
            max_age=timedelta(seconds=max_age),
            clock=clock,
            availability=Availability("cache", clock=time.monotonic),
        )
        try:
            return await work(cache)
        finally:
            await cache.close()

    return asyncio.run(main())


def write(server: RunningValkey, *entries: Entry, ago: float = 0) -> int:
    return run(server, lambda cache: cache.write(entries, read_began=time.time() - ago))


def read(server: RunningValkey, *product_ids: str, ahead: float = 0) -> list[bytes | None]:
    return run(server, lambda cache: cache.read(product_ids), clock=lambda: time.time() + ahead)


def test_what_was_written_is_read_in_the_order_asked(valkey: RunningValkey) -> None:
    assert write(valkey, Entry("A", 5, b"{a}"), Entry("B", 6, ABSENT)) == 2
    assert read(valkey, "B", "C", "A") == [ABSENT, None, b"{a}"]


@pytest.mark.parametrize("later", [0, 1])
def test_an_older_version_never_replaces_a_newer_one(valkey: RunningValkey, later: int) -> None:
    write(valkey, Entry("A", 10, b"{new}"), ago=1)
    # Even one that is told later, and though "9" sorts after "10".
    assert write(valkey, Entry("A", 9, b"{old}"), ago=1 - later) == 0
    assert read(valkey, "A") == [b"{new}"]


def test_of_two_reads_of_one_version_the_one_that_began_later_stays(
    valkey: RunningValkey,
) -> None:
    write(valkey, Entry("A", 5, b"{a}"), ago=10)
    with valkey.connect() as connection:
        before = connection.pexpiretime(KEY)
        assert write(valkey, Entry("A", 5, b"{a}"), ago=20) == 0
        assert connection.pexpiretime(KEY) == before
        assert write(valkey, Entry("A", 5, b"{a}"), ago=5) == 1
        assert connection.pexpiretime(KEY) > before


def test_a_removal_replaces_what_it_removed_and_a_new_insert_the_removal(
    valkey: RunningValkey,
) -> None:
    for version, item in [(0, ABSENT), (5, b"{a}"), (6, ABSENT), (7, b"{again}")]:
        assert write(valkey, Entry("A", version, item)) == 1
        assert read(valkey, "A") == [item]
    # A slow reader that saw what was before comes late.
    for late in [Entry("A", 6, ABSENT), Entry("A", 5, b"{a}"), Entry("A", 0, ABSENT)]:
        assert write(valkey, late) == 0
    assert read(valkey, "A") == [b"{again}"]


def test_an_entry_expires_by_when_its_read_began_not_by_when_it_was_written(
    valkey: RunningValkey,
) -> None:
    now = time.time()
    run(valkey, lambda cache: cache.write([Entry("A", 5, b"{a}")], read_began=now - 20))
    with valkey.connect() as connection:
        assert connection.pexpiretime(KEY) == int((now - 20) * 1000) + 25_000
    write(valkey, Entry("B", 5, b"{b}"), ago=26)
    with valkey.connect() as connection:
        assert not connection.exists("live:item:B")


def test_a_reader_refuses_by_its_own_clock_what_is_too_old_or_from_the_future(
    valkey: RunningValkey,
) -> None:
    write(valkey, Entry("A", 5, b"{a}"), Entry("B", 0, ABSENT))
    assert read(valkey, "A", "B", ahead=24) == [b"{a}", ABSENT]
    assert read(valkey, "A", "B", ahead=25.1) == [None, None]
    assert read(valkey, "A", ahead=-CLOCK_SKEW_MS / 1000 * 0.5) == [b"{a}"]
    assert read(valkey, "A", ahead=-CLOCK_SKEW_MS / 1000 - 1) == [None]


@pytest.mark.parametrize(
    "garbage", [b"", b"x", b"z" * 100, b"9" * 31, b"9" * 200, b"0" * 32 + b"P{a}"]
)
def test_a_value_of_another_form_is_no_answer_and_is_written_over(
    valkey: RunningValkey, garbage: bytes
) -> None:
    with valkey.connect() as connection:
        connection.set(KEY, garbage)
        assert read(valkey, "A") == [None]
        expected = 0 if garbage == b"9" * 200 else 1  # that one has the form of a later version
        assert write(valkey, Entry("A", 5, b"{a}")) == expected


def test_a_key_of_another_type_is_written_over(valkey: RunningValkey) -> None:
    with valkey.connect() as connection:
        connection.rpush(KEY, "x")
    assert read(valkey, "A") == [None]
    assert write(valkey, Entry("A", 5, b"{a}")) == 1
    assert read(valkey, "A") == [b"{a}"]


def test_a_valkey_that_forgot_the_script_is_told_it_again(valkey: RunningValkey) -> None:
    write(valkey, Entry("A", 5, b"{a}"))
    with valkey.connect() as connection:
        connection.script_flush()
    assert write(valkey, Entry("A", 6, b"{b}")) == 1


def test_the_environments_do_not_see_each_other(valkey: RunningValkey) -> None:
    write(valkey, Entry("A", 5, b"{a}"))
    sandbox = Environment.SANDBOX
    assert run(valkey, lambda cache: cache.read(["A"]), environment=sandbox) == [None]


def test_racing_writers_leave_the_newest_version(valkey: RunningValkey) -> None:
    async def race(cache: Cache) -> list[bytes | None]:
        versions = [(n * 7919) % 200 + 1 for n in range(200)]  # 1 to 200, mixed up
        writes = [
            cache.write([Entry("A", v, b"{%d}" % v)], read_began=time.time()) for v in versions
        ]
        await asyncio.gather(*writes)
        return await cache.read(["A"])

    assert run(valkey, race) == [b"{200}"]


def test_an_absent_or_hanging_valkey_is_told_within_its_time_limit(
    own_valkey: RunningValkey,
) -> None:
    async def timed(cache: Cache) -> float:
        began = time.monotonic()
        with pytest.raises(CacheAwayError):
            await cache.read(["A"])
        return time.monotonic() - began

    own_valkey.process.send_signal(signal.SIGSTOP)
    assert 0.09 < run(own_valkey, timed) < 1
    own_valkey.process.send_signal(signal.SIGCONT)
    assert read(own_valkey, "A") == [None]
    own_valkey.process.kill()
    own_valkey.process.wait()
    assert run(own_valkey, timed) < 1
