"""What is known of a key's last use, whatever happens to the database meanwhile."""

import asyncio
from uuid import uuid4

import psycopg
import pytest
from structlog.testing import capture_logs

from services.core.availability import Availability
from services.core.database_calls import DatabaseAwayError
from services.domain import key_uses
from services.domain.key_uses import AT_ONCE, KeyUses, Uses
from tests.clock import Clock

KEY, OTHER = str(uuid4()), str(uuid4())


class Table:
    """A table in memory that may be away."""

    def __init__(self) -> None:
        self.rows: dict[str, float] = {}
        self.statements: list[int] = []  # rows of each
        self.failure: Exception | None = None
        self.asked = asyncio.Event()

    async def write(self, uses: Uses) -> None:
        self.asked.set()
        self.statements.append(len(uses))
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.rows.update(uses)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def uses(table: Table, clock: Clock) -> KeyUses:
    return made(table, clock, every=3_600)


def made(table: Table, clock: Clock, every: float) -> KeyUses:
    failures = Availability("key_uses", clock=clock)
    return KeyUses(table.write, every=every, clock=clock, availability=failures)


def note(uses: KeyUses, *keys: str) -> None:
    for key in keys:
        uses.note(key.encode())


def write(uses: KeyUses) -> None:
    asyncio.run(uses.write())


def test_the_time_is_that_of_the_last_use_and_not_of_the_write(
    uses: KeyUses, table: Table, clock: Clock
) -> None:
    note(uses, KEY)
    clock.now = 1_010
    note(uses, KEY, OTHER)
    clock.now = 1_020
    note(uses, OTHER)
    clock.now = 1_030
    write(uses)
    assert table.rows == {KEY: 1_010, OTHER: 1_020}
    assert table.statements == [2]


def test_a_key_without_a_new_use_is_not_written_again(uses: KeyUses, table: Table) -> None:
    note(uses, KEY)
    write(uses)
    write(uses)
    note(uses, OTHER)
    write(uses)
    assert table.statements == [1, 1]


def test_what_is_no_uuid_is_dropped_and_a_uuid_in_capitals_is_the_same_key(
    uses: KeyUses, table: Table
) -> None:
    for given in (b"", b"mallory", b"x" * 36, b"x" * 60_000, b"\xff" * 36, KEY.encode() + b" "):
        uses.note(given)
    uses.note(f"{{{KEY.replace('-', '')}}}  ".encode())  # 36 characters that UUID() would take
    note(uses, KEY, KEY.upper())
    write(uses)
    assert list(table.rows) == [KEY]


@pytest.mark.parametrize("failure", [DatabaseAwayError(), psycopg.errors.InsufficientPrivilege()])
def test_what_could_not_be_written_is_written_the_next_time(
    uses: KeyUses, table: Table, clock: Clock, failure: Exception
) -> None:
    table.failure = failure
    note(uses, KEY, OTHER)
    write(uses)
    clock.now = 1_030
    note(uses, OTHER)
    write(uses)
    assert table.rows == {}
    table.failure = None
    write(uses)
    assert table.rows == {KEY: 1_000, OTHER: 1_030}


def test_writing_goes_on_after_a_failure_that_nobody_expected(table: Table, clock: Clock) -> None:
    table.failure = RuntimeError("a fault of ours")

    async def used() -> None:
        uses = made(table, clock, every=0.001)
        async with uses.kept():
            note(uses, KEY)
            for _ in range(2):  # it comes again after the first failure
                await table.asked.wait()
                table.asked.clear()
            table.failure = None

    with capture_logs() as logs:
        asyncio.run(asyncio.wait_for(used(), 20))
    assert table.rows == {KEY: 1_000}
    assert {each["event"] for each in logs} == {"key_uses.failed"}


def test_a_failure_is_told_once_however_long_it_lasts(
    uses: KeyUses, table: Table, clock: Clock
) -> None:
    table.failure = psycopg.errors.UndefinedTable("no such table")
    note(uses, KEY)
    with capture_logs() as logs:
        for _ in range(10):
            clock.now += 30
            write(uses)
        table.failure = None
        clock.now += 30
        write(uses)
    assert [event["event"] for event in logs] == ["key_uses.away", "key_uses.back"]


def test_a_use_that_comes_during_a_write_is_in_the_next(
    uses: KeyUses, table: Table, clock: Clock
) -> None:
    async def write_twice() -> None:
        note(uses, KEY)
        writing = asyncio.create_task(uses.write())
        await asyncio.sleep(0)  # the statement is under way
        assert table.statements == [1]
        clock.now = 1_005
        note(uses, KEY)
        await writing
        assert table.rows == {KEY: 1_000}
        await uses.write()

    asyncio.run(write_twice())
    assert table.rows == {KEY: 1_005}


def test_many_keys_are_written_some_at_a_time(uses: KeyUses, table: Table) -> None:
    note(uses, *(str(uuid4()) for _ in range(2 * AT_ONCE + 1)))
    write(uses)
    assert table.statements == [AT_ONCE, AT_ONCE, 1]
    assert len(table.rows) == 2 * AT_ONCE + 1


def test_memory_is_bounded_while_the_database_is_away(
    uses: KeyUses, table: Table, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_uses, "MOST_KEYS", 3)
    table.failure = DatabaseAwayError()
    known = [str(uuid4()) for _ in range(3)]
    for _ in range(2):
        note(uses, *known, *(str(uuid4()) for _ in range(5)))
        write(uses)
        clock.now += 30
    table.failure = None
    note(uses, known[0])
    write(uses)
    # The keys that were there first are kept, with their last uses.
    assert table.rows == {known[0]: 1_060, known[1]: 1_030, known[2]: 1_030}


def test_uses_are_written_every_so_often_and_once_more_at_the_end(
    table: Table, clock: Clock
) -> None:
    uses = made(table, clock, every=0.001)

    async def run() -> None:
        async with uses.kept():
            note(uses, KEY)
            await asyncio.wait_for(table.asked.wait(), 10)
            note(uses, OTHER)

    asyncio.run(run())
    assert set(table.rows) == {KEY, OTHER}


def test_what_can_not_be_written_at_the_end_is_told(uses: KeyUses, table: Table) -> None:
    table.failure = DatabaseAwayError()

    async def run() -> None:
        async with uses.kept():
            note(uses, KEY, OTHER)

    with capture_logs() as logs:
        asyncio.run(run())
    assert [(event["event"], event["keys"]) for event in logs] == [("key_uses.lost", 2)]
