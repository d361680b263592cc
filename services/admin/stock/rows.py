"""Stock: one product's quantity set or removed by operations, and lists of products.

The schema's triggers number and note every change; readers and partners learn of it from there.
"""

import msgspec
from psycopg import Connection, Cursor, errors
from psycopg.rows import TupleRow

from services.admin.changes import Change
from services.admin.pages import Listing, Page, listing
from services.admin.refusals import ConflictError, InvalidError, NotFoundError
from services.admin.stock.visible import check_visible
from services.core.environments import Environment
from services.core.errors import PartnerError
from services.core.http.inputs import check_product_id
from services.core.rows import struct_row
from services.domain.stock import (
    LOW_STOCK_MAXIMUM,
    PRODUCT_ID_RULE,
    QUANTITY_MOST,
    SET_STOCK,
    SET_TRIES,
    Item,
    ProductRow,
    SetRow,
    StockStatus,
    set_stock_values,
)


class StockFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which products are listed; None: all."""

    search: str | None = None  # a part of the product id, in whatever case
    status: StockStatus | None = None


def check_id(product_id: str, field: str = "product_id") -> None:
    """Raise InvalidError unless this can be a product id."""
    try:
        check_product_id(field, product_id)
    except PartnerError as exc:
        raise InvalidError(exc.message) from exc


def check_quantity(quantity: int) -> None:
    """Raise InvalidError unless this can be a quantity."""
    if not 0 <= quantity <= QUANTITY_MOST:
        msg = f"`quantity` must be a whole number from 0 to {QUANTITY_MOST}"
        raise InvalidError(msg)


SELECT_ONE = """
SELECT product_id, quantity, updated_at, version FROM products
WHERE product_id = %(product_id)s
"""


def get_stock(connection: Connection[TupleRow], environment: Environment, product_id: str) -> Item:
    """Return a product's item. Raises InvalidError, NotFoundError."""
    check_id(product_id)
    cursor = connection.cursor(row_factory=struct_row(ProductRow))
    row = cursor.execute(SELECT_ONE, {"product_id": product_id}).fetchone()
    if row is None:
        raise _no_product(environment, product_id)
    return row.item


def set_stock(
    change: Change, environment: Environment, product_id: str, quantity: int
) -> tuple[Item, int | None]:
    """Set a product's quantity, adding the product if need be; return it and what it was before.

    Where the quantity is as it was nothing changes and nothing is noted. Raises RefusedError.
    """
    check_id(product_id)
    check_quantity(quantity)
    row = _upsert(change, product_id, quantity)
    if row.before is None:
        check_visible(product_id)  # the caller's transaction ends with nothing added
    if row.before != quantity:
        before = None if row.before is None else {"quantity": row.before}
        target = f"stock:{environment}/{product_id}"
        change.record("stock.set", target, before=before, after={"quantity": quantity})
    return row.item, row.before


def _upsert(change: Change, product_id: str, quantity: int) -> SetRow:
    values = set_stock_values(product_id, quantity, change.actor.request_id)
    for _ in range(SET_TRIES):
        try:
            with change.connection.transaction():
                cursor = change.connection.cursor(row_factory=struct_row(SetRow))
                row = cursor.execute(SET_STOCK, values).fetchone()
        except errors.SerializationFailure:
            continue  # the product was removed at the same time: it is added again
        except errors.CheckViolation as exc:
            raise InvalidError(PRODUCT_ID_RULE) from exc
        assert row is not None  # noqa: S101 -- RETURNING of an upsert
        return row
    msg = f"{product_id} was removed at the same time, {SET_TRIES} times: try again"
    raise ConflictError(msg)


DELETE_ONE = """
DELETE FROM products WHERE product_id = %(product_id)s
RETURNING product_id, quantity, updated_at, version
"""


def remove_stock(change: Change, environment: Environment, product_id: str) -> Item:
    """Remove a product; return it as it was. Raises InvalidError, NotFoundError."""
    check_id(product_id)
    cursor = change.connection.cursor(row_factory=struct_row(ProductRow))
    row = cursor.execute(DELETE_ONE, {"product_id": product_id}).fetchone()
    if row is None:
        raise _no_product(environment, product_id)
    target = f"stock:{environment}/{product_id}"
    change.record("stock.removed", target, before={"quantity": row.quantity})
    return row.item


SELECT_PAGE = """
SELECT product_id, quantity, updated_at, version FROM products
WHERE (%(search)s::text IS NULL OR position(lower(%(search)s) IN lower(product_id)) > 0)
    AND quantity BETWEEN %(least)s AND %(most)s
    AND (%(after)s::text IS NULL OR product_id > %(after)s)
ORDER BY product_id LIMIT %(limit)s
"""

QUANTITIES = {
    None: (0, QUANTITY_MOST),
    StockStatus.OUT_OF_STOCK: (0, 0),
    StockStatus.LOW_STOCK: (1, LOW_STOCK_MAXIMUM),
    StockStatus.IN_STOCK: (LOW_STOCK_MAXIMUM + 1, QUANTITY_MOST),
}


def list_stock(connection: Connection[TupleRow], wanted: StockFilter, page: Page) -> Listing[Item]:
    """Return products by id. Raises InvalidError."""
    for field, given in (("search", wanted.search), ("cursor", page.after)):
        if given is not None:
            check_id(given, field)
    least, most = QUANTITIES[wanted.status]
    values = {
        "search": wanted.search,
        "least": least,
        "most": most,
        "after": page.after,
        "limit": page.limit + 1,
    }
    cursor: Cursor[ProductRow] = connection.cursor(row_factory=struct_row(ProductRow))
    rows = cursor.execute(SELECT_PAGE, values).fetchall()
    return listing([row.item for row in rows], page, lambda item: item.product_id)


def _no_product(environment: Environment, product_id: str) -> NotFoundError:
    return NotFoundError(f"there is no product {product_id} in {environment}")
