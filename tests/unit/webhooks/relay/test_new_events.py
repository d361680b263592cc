"""What the relay stores of one change."""

from datetime import UTC, datetime

import pytest

from services.webhooks.relay.relay import new_events
from services.webhooks.relay.store import Change

NOON = datetime(2026, 11, 22, 12, 0, 0, 5, tzinfo=UTC)
UPDATED, LOW, OUT = "inventory.updated", "inventory.low_stock", "inventory.out_of_stock"


@pytest.mark.parametrize(
    ("old", "new", "types"),
    [
        (None, 0, [UPDATED]),
        (None, 5, [UPDATED]),
        (0, 5, [UPDATED]),
        (0, 50, [UPDATED]),
        (15, 0, [UPDATED, OUT]),
        (5, 0, [UPDATED, OUT]),
        (11, 10, [UPDATED, LOW]),
        (10, 9, [UPDATED]),
        (50, 11, [UPDATED]),
        (9, 10, [UPDATED]),
        (5, None, []),
        (0, None, []),
    ],
)
def test_a_change_gives_its_events(old: int | None, new: int | None, types: list[str]) -> None:
    found = list(new_events(Change(1, "A", old, new, 7, NOON, None)))
    assert [event.event_type for event in found] == types
    assert len({event.data for event in found}) <= 1


def test_an_event_carries_the_finished_item() -> None:
    (event,) = new_events(Change(1, 'a "b" é', 0, 5, 7, NOON, "r-1"))
    assert event.product_id == 'a "b" é'
    assert event.request_id == "r-1"
    assert event.data == (
        r'{"product_id":"a \"b\" é","quantity":5,"status":"low_stock",'
        '"updated_at":"2026-11-22T12:00:00.000005Z","version":7}'
    )
