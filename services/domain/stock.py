"""Domain: stock: an item as partners see it, its status, and how a quantity is set (Q2, Q3)."""

from datetime import datetime
from enum import StrEnum
from typing import LiteralString

import msgspec

from services.core.environments import Environment
from services.core.timestamps import rfc3339

LOW_STOCK_MAXIMUM = 10  # units; above it a product is in stock
QUANTITY_MOST = 2_147_483_647  # units; the column's type holds no more
SET_TRIES = 3  # of SET_STOCK, which loses to a removal of the same product (SerializationFailure)
PRODUCT_ID_RULE = "`product_id` must have 1 to 64 characters, none of them a control character"

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


def item_of(product_id: str, quantity: int, changed_at: datetime, version: int) -> Item:
    """Return the item of a product."""
    return Item(product_id, quantity, stock_status(quantity), rfc3339(changed_at), version)


def item_json(product_id: str, quantity: int, changed_at: datetime, version: int) -> bytes:
    """Return an item as the JSON bytes that answers and events carry."""
    return _encode(item_of(product_id, quantity, changed_at, version))


class ProductRow(msgspec.Struct, frozen=True):
    """A row of products."""

    product_id: str
    quantity: int
    updated_at: datetime
    version: int

    @property
    def item(self) -> Item:
        """The product as partners see it."""
        return item_of(self.product_id, self.quantity, self.updated_at, self.version)


class SetRow(ProductRow, frozen=True):
    """A product just set, and its quantity before: None when the product is new."""

    before: int | None


# stock_changes takes the request's id from the transaction's setting, and the log lines of the
# change's webhooks from there. CheckViolation: the database's rule of a product id is stricter.
SET_STOCK: LiteralString = """
INSERT INTO products (product_id, quantity)
SELECT %(product_id)s::text, %(quantity)s::integer
FROM set_config('partnerapi.request_id', %(request_id)s, true)
ON CONFLICT (product_id) DO UPDATE SET quantity = excluded.quantity
RETURNING new.product_id, new.quantity, new.updated_at, new.version, old.quantity AS before
"""


def set_stock_values(product_id: str, quantity: int, request_id: str | None) -> dict[str, object]:
    """Return the parameters of SET_STOCK, which returns one row, a SetRow."""
    return {"product_id": product_id, "quantity": quantity, "request_id": request_id}
