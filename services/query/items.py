"""Items: one product's stock as finished JSON bytes, from the database to the socket."""

from datetime import datetime
from typing import NamedTuple

from services.domain.stock import item_json

ABSENT = b""  # stands for an item where a product is known not to exist


class StockRow(NamedTuple):
    """What the database holds of a product; quantity is None when there is no such product.

    Its version is then that of the removal, or 0 when the product never was.
    """

    product_id: str
    quantity: int | None
    changed_at: datetime | None
    version: int


class Entry(NamedTuple):
    """What readers are told of a product: `item` is its JSON, or ABSENT."""

    product_id: str
    version: int
    item: bytes


def entry_of(row: StockRow) -> Entry:
    """Return the entry of a row."""
    product_id, quantity, changed_at, version = row
    if quantity is None or changed_at is None:
        return Entry(product_id, version, ABSENT)
    return Entry(product_id, version, item_json(product_id, quantity, changed_at, version))
