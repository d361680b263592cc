"""An item's bytes, as they travel from the database to the partner."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from services.query.items import ABSENT, StockRow, entry_of

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("quantity", "status"),
    [(0, "out_of_stock"), (1, "low_stock"), (10, "low_stock"), (11, "in_stock")],
)
def test_an_item_has_the_fields_of_the_contract_in_its_order(quantity: int, status: str) -> None:
    entry = entry_of(StockRow('A"é', quantity, NOON, 7))
    assert entry.item.decode() == (
        f'{{"product_id":"A\\"é","quantity":{quantity},"status":"{status}",'
        '"updated_at":"2026-11-22T12:00:00.000000Z","version":7}'
    )


def test_a_time_of_another_zone_is_told_in_utc() -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    entry = entry_of(StockRow("A", 1, datetime(2026, 11, 22, 17, 30, 0, 42, tzinfo=east), 7))
    assert b'"2026-11-22T12:00:00.000042Z"' in entry.item


def test_a_product_that_is_not_there_has_no_item_but_a_version() -> None:
    assert entry_of(StockRow("A", None, None, 9)) == ("A", 9, ABSENT)
