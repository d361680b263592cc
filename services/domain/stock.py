"""Domain: an item as partners see it, and what its quantity means: the one definition (Q2, Q3)."""

from datetime import datetime
from enum import StrEnum
from typing import LiteralString

import msgspec

from services.core.environments import Environment
from services.core.timestamps import rfc3339

LOW_STOCK_MAXIMUM = 10  # units; above it a product is in stock

# A stock change notifies its environment's channel; the payload is always empty. Channels belong to
# the database and not to a schema.
LISTEN: dict[Environment, LiteralString] = {
    Environment.LIVE: "LISTEN live_stock",
    Environment.SANDBOX: "LISTEN sandbox_stock",
}


class StockStatus(StrEnum):
    """The status that partners see beside a quantity."""

    IN_STOCK = "in_stock"
    LOW_STOCK = "low_stock"
    OUT_OF_STOCK = "out_of_stock"


def stock_status(quantity: int) -> StockStatus:
    """Return the status of a quantity in units (0 or more)."""
    if quantity > LOW_STOCK_MAXIMUM:
        return StockStatus.IN_STOCK
    return StockStatus.LOW_STOCK if quantity > 0 else StockStatus.OUT_OF_STOCK


class Item(msgspec.Struct):
    """An item of the public contract (Q2), its fields in the order of the contract."""

    product_id: str
    quantity: int
    status: StockStatus
    updated_at: str
    version: int


_encode = msgspec.json.Encoder().encode


def item_json(product_id: str, quantity: int, changed_at: datetime, version: int) -> bytes:
    """Return an item as the JSON bytes that answers and events carry."""
    return _encode(Item(product_id, quantity, stock_status(quantity), rfc3339(changed_at), version))
