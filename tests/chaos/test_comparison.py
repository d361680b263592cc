"""The comparison: a right ledger passes, and each wrong one is found out."""

from collections.abc import Callable
from uuid import UUID

import msgspec
import pytest

from tests.chaos.comparison import (
    Change,
    Fault,
    Findings,
    Subscription,
    check_confirmed,
    compare,
    events_of,
)
from tools.receiver import Receipt

UPDATED, LOW, OUT = "inventory.updated", "inventory.low_stock", "inventory.out_of_stock"
CHANGES = [
    Change("A", None, 20, 1, 100.0),
    Change("A", 20, 5, 2, 101.0),
    Change("B", None, 0, 3, 102.0),
    Change("A", 5, 0, 4, 103.0),
    Change("B", 0, None, 5, 104.0),
    Change("B", None, 7, 6, 105.0),
]
STOCK = {"A": (4, 0), "B": (6, 7)}
SUBSCRIPTIONS = [
    Subscription(0, frozenset([UPDATED, LOW])),
    Subscription(1, frozenset([OUT])),
    Subscription(2, frozenset([UPDATED]), since=103.5),
]


def ledger() -> list[Receipt]:
    """Return what receivers are sent when all goes well."""
    told = [
        (0, UPDATED, "A", 1, 20),
        (0, UPDATED, "A", 2, 5),
        (0, LOW, "A", 2, 5),
        (0, UPDATED, "B", 3, 0),
        (0, UPDATED, "A", 4, 0),
        (1, OUT, "A", 4, 0),
        (2, UPDATED, "A", 4, 0),  # it was registered before the relay came to this change
        (0, UPDATED, "B", 6, 7),
        (2, UPDATED, "B", 6, 7),
    ]
    ids = {event[1:4]: str(UUID(int=place)) for place, event in enumerate(told)}
    return [
        Receipt(endpoint, ids[kind, product, version], kind, product, version, quantity, *REST)
        for endpoint, kind, product, version, quantity in told
    ]


REST = (0, 110.0, 204, 0, [0], "")  # retry_count and what comes after it


def changed(place: int, **fields: object) -> Callable[[list[Receipt]], None]:
    """Return a way to spoil the ledger's line."""

    def spoil(receipts: list[Receipt]) -> None:
        receipts[place] = msgspec.structs.replace(receipts[place], **fields)

    return spoil


def added(place: int, **fields: object) -> Callable[[list[Receipt]], None]:
    """Return a way to add a line like another one."""

    def spoil(receipts: list[Receipt]) -> None:
        receipts.append(msgspec.structs.replace(receipts[place], **fields))

    return spoil


def removed(place: int) -> Callable[[list[Receipt]], None]:
    """Return a way to remove a line."""

    def spoil(receipts: list[Receipt]) -> None:
        del receipts[place]

    return spoil


def found(receipts: list[Receipt], *, lapsed: int = 0) -> Findings:
    """Return what the comparison finds."""
    return compare(CHANGES, STOCK, SUBSCRIPTIONS, receipts, lapsed=lapsed)


def test_a_right_ledger_has_no_fault() -> None:
    findings = found(ledger())
    assert findings.lines == []
    assert (findings.changes, findings.events) == (6, 7)
    assert (findings.expected, findings.taken, findings.duplicates) == (8, 8, 0)


def test_a_delivery_that_came_twice_is_a_duplicate_and_no_fault() -> None:
    receipts = ledger()
    added(2, retry_count=1)(receipts)
    findings = found(receipts)
    assert findings.lines == []
    assert findings.duplicates == 1


def test_an_attempt_that_was_lost_track_of_may_be_made_once_more() -> None:
    receipts = ledger()
    added(2)(receipts)
    assert found(receipts, lapsed=1).lines == []
    added(2)(receipts)
    assert found(receipts, lapsed=1).count(Fault.ATTEMPT) == 1


def test_a_failed_attempt_before_a_good_one_is_no_fault() -> None:
    receipts = ledger()
    changed(5, retry_count=1)(receipts)
    added(5, retry_count=0, status=500)(receipts)
    findings = found(receipts)
    assert findings.lines == []
    assert (findings.refused, findings.duplicates) == (1, 0)


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        pytest.param(removed(2), Fault.LOST, id="a receipt is missing"),
        pytest.param(removed(8), Fault.LOST, id="missing at an endpoint that came later"),
        pytest.param(changed(5, status=500), Fault.LOST, id="failed and never sent again"),
        pytest.param(changed(5, status=0), Fault.LOST, id="hung and never sent again"),
        pytest.param(added(0, endpoint=1), Fault.UNEXPECTED, id="not subscribed"),
        pytest.param(added(0, version=9), Fault.UNEXPECTED, id="a change that never was"),
        pytest.param(added(3, event_type=OUT), Fault.UNEXPECTED, id="an event that never was"),
        pytest.param(added(0, endpoint=7), Fault.UNEXPECTED, id="an endpoint that never was"),
        pytest.param(
            added(2, event_id=str(UUID(int=99))), Fault.EVENT_ID, id="a duplicate with another id"
        ),
        pytest.param(
            changed(6, event_id=str(UUID(int=99))), Fault.EVENT_ID, id="an id for each endpoint"
        ),
        pytest.param(
            changed(1, event_id=ledger()[0].event_id), Fault.EVENT_ID, id="one id for two events"
        ),
        pytest.param(changed(3, x_signature=-1), Fault.SIGNATURE, id="X-Signature is wrong"),
        pytest.param(changed(3, standard=[0, -1]), Fault.SIGNATURE, id="one signature is wrong"),
        pytest.param(changed(3, standard=[]), Fault.SIGNATURE, id="no standard signature"),
        pytest.param(changed(1, quantity=6), Fault.PAYLOAD, id="another quantity"),
        pytest.param(changed(1, fault="late"), Fault.PAYLOAD, id="the receiver found a fault"),
        pytest.param(added(0), Fault.ATTEMPT, id="the same attempt twice"),
        pytest.param(added(0, retry_count=5), Fault.ATTEMPT, id="a sixth attempt"),
        pytest.param(removed(7), Fault.STALE, id="the last state was not heard"),
        pytest.param(changed(7, quantity=8), Fault.STALE, id="a wrong quantity is kept"),
        pytest.param(added(0, version=99), Fault.STALE, id="a version above the last"),
    ],
)
def test_a_wrong_ledger_is_found_out(spoil: Callable[[list[Receipt]], None], fault: Fault) -> None:
    receipts = ledger()
    spoil(receipts)
    findings = found(receipts)
    assert fault in findings.faults
    assert any(line.startswith(fault) for line in findings.lines)


def test_a_confirmed_change_that_the_table_does_not_have_is_found_out() -> None:
    findings = Findings()
    check_confirmed({2: ("A", 5), 6: ("B", 7)}, CHANGES, findings)
    assert findings.lines == []
    check_confirmed({2: ("A", 6), 7: ("B", 7)}, CHANGES, findings)
    assert findings.count(Fault.NOT_IN_TABLE) == 2


@pytest.mark.parametrize(
    ("old", "new", "events"),
    [
        (None, 5, [UPDATED]),
        (None, 0, [UPDATED]),
        (5, None, []),
        (0, 5, [UPDATED]),
        (11, 10, [UPDATED, LOW]),
        (11, 1, [UPDATED, LOW]),
        (10, 9, [UPDATED]),
        (12, 11, [UPDATED]),
        (15, 0, [UPDATED, OUT]),
        (1, 0, [UPDATED, OUT]),
        (0, 11, [UPDATED]),
        (5, 20, [UPDATED]),
    ],
)
def test_events_follow_from_the_quantities_as_the_requirement_says(
    old: int | None, new: int | None, events: list[str]
) -> None:
    assert events_of(Change("A", old, new, 1, 0.0)) == events
