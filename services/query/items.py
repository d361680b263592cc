"""Items: one product's stock as finished JSON bytes, from the database to the socket."""

from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from services.kernel.stock import StockStatus, stock_status

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


class Item(msgspec.Struct):
    """An item of the public contract (Q2), its fields in the order of the contract."""

    product_id: str
    quantity: int
    status: StockStatus
    updated_at: str
    version: int


_encode = msgspec.json.Encoder().encode


def entry_of(row: StockRow) -> Entry:
    """Return the entry of a row."""
    product_id, quantity, changed_at, version = row
    if quantity is None or changed_at is None:
        return Entry(product_id, version, ABSENT)
    item = Item(product_id, quantity, stock_status(quantity), rfc3339(changed_at), version)
    return Entry(product_id, version, _encode(item))


def rfc3339(when: datetime) -> str:
    """Return an aware time in UTC with microseconds: `2026-11-22T09:14:03.512804Z`."""
    return when.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
