"""What memory promises: newest version, bounded age, bounded size (Q7)."""

import random
import sys
from datetime import timedelta
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.query.items import ABSENT, Entry
from services.query.memory import FRESH_SHARE, LARGEST, OVERHEAD, Bounds, Memory
from tests.clock import Clock

MAX_AGE = 25.0
ROOMY = Bounds(1_000, 10_000_000)


def memory(clock: Clock, bounds: Bounds = ROOMY) -> Memory:
    return Memory(bounds, max_age=timedelta(seconds=MAX_AGE), clock=clock)


def item(name: str, version: int) -> Entry:
    return Entry(name, version, b"{%s %d}" % (name.encode(), version))


def absent(name: str, version: int = 0) -> Entry:
    return Entry(name, version, ABSENT)


def test_items_are_hot_from_the_first_look_on_in_the_order_asked() -> None:
    clock = Clock()
    kept = memory(clock)
    kept.put(item("A", 1), clock.now)
    kept.put(item("B", 2), clock.now)
    assert kept.hot(["B", "A"]) == [b"{B 2}", b"{A 1}"]
    assert kept.look(["B", "A"]) == [b"{B 2}", b"{A 1}"]
    assert kept.hot(["B", "C"]) is None


@pytest.mark.parametrize("through_feed", [True, False])
def test_a_slow_reader_that_comes_late_gets_and_leaves_what_is_newer(through_feed: bool) -> None:
    clock = Clock()
    kept = memory(clock)
    if through_feed:
        kept.follow([item("A", 6)], read_began=clock.now)
    else:
        kept.put(item("A", 6), clock.now)
    assert kept.put(item("A", 5), clock.now + 0.5) == b"{A 6}"
    assert kept.look(["A"]) == [b"{A 6}"]


def test_a_change_is_what_is_hot_from_then_on() -> None:
    clock = Clock()
    kept = memory(clock)
    kept.put(item("A", 5), clock.now)
    kept.look(["A"])
    assert kept.hot(["A"]) == [b"{A 5}"]
    kept.follow([item("A", 6)], read_began=clock.now)
    assert kept.hot(["A"]) == [b"{A 6}"]
    kept.follow([absent("A", 7)], read_began=clock.now)
    assert kept.hot(["A"]) is None
    assert kept.look(["A"]) == [ABSENT]


def test_unknown_products_are_remembered_until_they_are_inserted() -> None:
    clock = Clock()
    kept = memory(clock)
    assert kept.put(absent("A"), clock.now) == ABSENT
    assert kept.look(["A", "B"]) == [ABSENT, None]
    kept.follow([item("A", 9)], read_began=clock.now)
    assert kept.look(["A"]) == [b"{A 9}"]
    assert kept.put(absent("A"), clock.now) == b"{A 9}"


def test_a_removed_product_is_not_brought_back_by_a_late_reader() -> None:
    clock = Clock()
    kept = memory(clock)
    kept.follow([absent("A", 7)], read_began=clock.now)
    assert kept.put(item("A", 6), clock.now) == ABSENT
    assert kept.look(["A"]) == [ABSENT]


def test_nothing_is_served_beyond_its_age_and_copying_renews_nothing() -> None:
    clock = Clock()
    kept = memory(clock)
    began = clock.now - 20  # as from Valkey
    kept.put(item("A", 1), began)
    kept.put(absent("B"), began)
    clock.now = began + MAX_AGE - 0.001
    assert kept.look(["A", "B"]) == [b"{A 1}", ABSENT]
    clock.now = began + MAX_AGE
    assert kept.look(["A", "B"]) == [None, None]


def test_what_is_hot_is_never_served_beyond_its_age() -> None:
    clock = Clock()
    kept = memory(clock)
    began = clock.now
    kept.put(item("A", 1), began)
    while clock.now < began + MAX_AGE + 2:
        for found in (kept.hot(["A"]), kept.look(["A"])[0], kept.hot(["A"])):
            assert not found or clock.now < began + MAX_AGE
        clock.now += 1 / 7


def test_what_is_no_longer_fresh_is_served_on_and_told_to_its_reader() -> None:
    clock = Clock()
    kept = memory(clock)
    began = clock.now
    kept.put(item("A", 1), began)
    told: list[float] = []
    while clock.now < began + MAX_AGE:
        assert kept.look(["A"]) == [b"{A 1}"]
        if kept.take_aging(10):
            told.append(clock.now - began)
            assert kept.hot(["A"]) is None
        else:
            assert not told
        clock.now += 0.25
    assert told[0] == pytest.approx(MAX_AGE * FRESH_SHARE, abs=0.26)
    assert kept.take_aging(10) == []
    # Read again it is fresh again, and has its place among the hot ones.
    kept.put(item("A", 1), clock.now)
    assert kept.hot(["A"]) == [b"{A 1}"]
    kept.look(["A"])
    assert not kept.aging


def test_what_was_read_again_is_hot_beyond_its_first_second_to_leave() -> None:
    clock = Clock()
    kept = memory(clock)
    kept.put(item("A", 1), clock.now)
    clock.now += MAX_AGE * FRESH_SHARE - 2
    kept.put(item("A", 1), clock.now)
    for _ in range(10):
        clock.now += 1
        assert kept.hot(["A"]) == [b"{A 1}"]


def test_to_forget_drops_all_and_what_is_being_read() -> None:
    clock = Clock()
    kept = memory(clock)
    kept.put(item("A", 1), clock.now)
    clock.now += 1
    kept.forget()
    assert kept.hot(["A"]) is None
    assert kept.put(item("B", 1), clock.now - 0.5) == b"{B 1}"
    assert kept.look(["A", "B"]) == [None, None]
    kept.put(item("B", 2), clock.now + 0.1)
    assert kept.look(["B"]) == [b"{B 2}"]


def test_what_is_too_old_or_from_the_future_is_answered_and_not_kept() -> None:
    clock = Clock()
    kept = memory(clock)
    assert kept.put(item("A", 1), clock.now - MAX_AGE) == b"{A 1}"
    assert kept.put(item("B", 1), clock.now + 2) == b"{B 1}"
    assert kept.look(["A", "B"]) == [None, None]


def test_a_lower_version_counts_once_the_higher_one_is_beyond_its_age() -> None:
    """A database that was restored from a backup has lower versions."""
    clock = Clock()
    kept = memory(clock)
    kept.put(item("A", 100), clock.now)
    clock.now += MAX_AGE
    assert kept.put(item("A", 50), clock.now) == b"{A 50}"
    assert kept.look(["A"]) == [b"{A 50}"]


def test_a_clock_that_is_set_back_empties_it() -> None:
    clock = Clock()
    kept = memory(clock)
    kept.put(item("A", 1), clock.now)
    kept.look(["A"])
    clock.now -= 3_600
    assert kept.hot(["A"]) is None
    assert kept.look(["A"]) == [None]


def test_it_holds_no_more_entries_than_it_may_and_keeps_those_in_use() -> None:
    clock = Clock()
    kept = memory(clock, Bounds(100, 10_000_000))
    kept.put(item("used", 1), clock.now)
    for number in range(1_000):
        clock.now += 0.001
        kept.put(item(f"P{number}", number + 2), clock.now)
        kept.put(absent(f"U{number}"), clock.now)
        assert kept.look(["used"]) == [b"{used 1}"]
        assert kept.held <= 110  # 10 of them unknown
    assert kept.look(["P0"]) == [None]
    assert kept.look(["P999"]) == [b"{P999 1001}"]


def test_unknown_ids_push_no_product_out() -> None:
    clock = Clock()
    kept = memory(clock, Bounds(100, 10_000_000))
    for number in range(40):
        kept.put(item(f"P{number}", 1), clock.now)
    for number in range(10_000):
        kept.put(absent(f"U{number}"), clock.now)
    assert None not in kept.look([f"P{number}" for number in range(40)])


def test_it_takes_no_more_bytes_than_it_may() -> None:
    clock = Clock()
    kept = memory(clock, Bounds(1_000_000, 10 * LARGEST))
    for number in range(1_000):
        kept.put(Entry(f"P{number}", 1, b"x" * 500), clock.now)
        assert kept.held * (500 + OVERHEAD) <= 10 * LARGEST
    assert kept.held > 20


def test_what_an_entry_takes_is_not_underestimated() -> None:
    name, data = "PROD-00001", b"x" * 130
    slots = sys.getsizeof(dict.fromkeys(map(str, range(5_000)))) / 5_000
    taken = (
        slots + sys.getsizeof(name) + sys.getsizeof((1.0, data, 1)) + sys.getsizeof(data) + 24 + 32
    )
    assert taken < len(data) + 4 * len(name) + OVERHEAD


@pytest.mark.parametrize("bounds", [Bounds(0, 10_000_000), Bounds(1_000, 0), Bounds(1, 1)])
def test_without_room_it_knows_nothing(bounds: Bounds) -> None:
    clock = Clock()
    kept = memory(clock, bounds)
    assert kept.off
    kept.follow([item("A", 1), absent("B")], read_began=clock.now)
    assert kept.put(item("A", 1), clock.now) == b"{A 1}"
    assert kept.look(["A", "B"]) == [None, None]
    assert kept.held == 0


def test_a_late_reader_fills_nothing_older_than_what_was_dropped_meanwhile() -> None:
    clock = Clock()
    kept = memory(clock, Bounds(10, 10_000_000))
    began = clock.now
    clock.now += 0.1
    kept.follow([item("A", 6)], read_began=clock.now)
    for number in range(20):  # A is dropped
        clock.now += 0.001
        kept.follow([item(f"P{number}", 7)], read_began=clock.now)
    assert kept.look(["A"]) == [None]
    assert kept.put(item("A", 5), began) == b"{A 5}"  # an answer as good as any of its time
    assert kept.look(["A"]) == [None]
    assert kept.put(item("A", 6), clock.now) == b"{A 6}"
    assert kept.look(["A"]) == [b"{A 6}"]


def test_what_was_dropped_is_not_hot_any_more_nor_taken_for_unknown() -> None:
    clock = Clock()
    kept = memory(clock, Bounds(100, 10_000_000))
    kept.put(absent("A"), clock.now)
    kept.follow([item("A", 6)], read_began=clock.now)
    kept.look(["A"])
    assert kept.hot(["A"]) == [b"{A 6}"]
    kept.follow([item(f"P{number}", 7) for number in range(200)], read_began=clock.now)
    assert kept.hot(["A"]) is None
    assert kept.look(["A"]) == [None]


class Read(NamedTuple):
    """A read of the database that is under way: what it saw, and when it began."""

    entry: Entry
    began: float


STEPS = st.lists(
    st.sampled_from(["change", "remove", "read", "fill", "ask", "wait", "long wait"]), max_size=80
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 1_000), most=st.sampled_from([2, 4, 10, 1_000]))
def test_whatever_happens_nothing_older_is_served_than_was_told(
    steps: list[str], seed: int, most: int
) -> None:
    """A model: a database whose every change is followed at once, and readers that come late."""
    clock, chance = Clock(), random.Random(seed)
    kept = memory(clock, Bounds(most, 10_000_000))
    names = ["A", "B", "C", "D", "E"]
    now_in_database = {name: absent(name) for name in names}
    under_way: list[Read] = []
    version = 0
    for step in steps:
        name = chance.choice(names)
        clock.now += 0.001
        if step in {"change", "remove"}:
            version += 1
            entry = item(name, version) if step == "change" else absent(name, version)
            now_in_database[name] = entry
            kept.follow([entry], read_began=clock.now)
        elif step == "read":
            under_way.append(Read(now_in_database[name], clock.now))
        elif step == "fill" and under_way:
            kept.put(*under_way.pop(chance.randrange(len(under_way))))
        elif step == "ask":
            for each, found in zip(names, kept.look(names), strict=True):
                assert found in (None, now_in_database[each].item)
            hot = kept.hot([name])
            assert hot in (None, [now_in_database[name].item])
        elif step == "wait":
            clock.now += chance.random() * 3
        elif step == "long wait":
            clock.now += MAX_AGE
            assert kept.look(names) == [None] * 5
        assert kept.held <= most * 1.1
