"""Stock: one product's quantity set or removed by operations, and lists of products.

The schema's triggers number and note every change; readers and partners learn of it from there.
"""

from datetime import datetime

import msgspec
from psycopg import Connection, Cursor, errors, sql
from psycopg.rows import TupleRow, class_row

from services.admin.changes import Change
from services.admin.pages import Listing, Page, listing
from services.admin.refusals import ConflictError, InvalidError, NotFoundError
from services.admin.stock.visible import check_visible
from services.core.environments import Environment
from services.core.errors import PartnerError
from services.core.http.inputs import check_product_id
from services.core.timestamps import rfc3339
from services.domain.stock import LOW_STOCK_MAXIMUM, Item, StockStatus, stock_status

QUANTITY_MOST = 2_147_483_647  # units; what the column holds
TRIES = 3  # of an insert that loses to a removal of the same product


class Row(msgspec.Struct, frozen=True):
    """A product's row."""

    product_id: str
    quantity: int
    updated_at: datetime
    version: int

    @property
    def item(self) -> Item:
        """The product as everybody sees it."""
        status = stock_status(self.quantity)
        return Item(self.product_id, self.quantity, status, rfc3339(self.updated_at), self.version)


class SetRow(Row, frozen=True):
    """A product's row just set, and its quantity before: None when the product is new."""

    before: int | None


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
SELECT product_id, quantity, updated_at, version FROM {products}
WHERE product_id = %(product_id)s
"""


def get_stock(connection: Connection[TupleRow], environment: Environment, product_id: str) -> Item:
    """Return a product's item. Raises InvalidError, NotFoundError."""
    check_id(product_id)
    cursor = connection.cursor(row_factory=class_row(Row))
    statement = for_products(SELECT_ONE, environment)
    row = cursor.execute(statement, {"product_id": product_id}).fetchone()
    if row is None:
        raise _no_product(environment, product_id)
    return row.item


SET_ONE = """
INSERT INTO {products} (product_id, quantity) VALUES (%(product_id)s, %(quantity)s)
ON CONFLICT (product_id) DO UPDATE SET quantity = excluded.quantity
RETURNING new.product_id, new.quantity, new.updated_at, new.version, old.quantity AS before
"""


def set_stock(
    change: Change, environment: Environment, product_id: str, quantity: int
) -> tuple[Item, int | None]:
    """Set a product's quantity, adding the product if need be; return it and what it was before.

    Where the quantity is as it was nothing changes and nothing is noted. Raises RefusedError.
    """
    check_id(product_id)
    check_visible(product_id)
    check_quantity(quantity)
    values: dict[str, object] = {"product_id": product_id, "quantity": quantity}
    row = _upsert(change.connection, for_products(SET_ONE, environment), values)
    if row.before != quantity:
        before = None if row.before is None else {"quantity": row.before}
        target = f"stock:{environment}/{product_id}"
        change.record("stock.set", target, before=before, after={"quantity": quantity})
    return row.item, row.before


def _upsert(
    connection: Connection[TupleRow], statement: sql.Composed, values: dict[str, object]
) -> SetRow:
    for _ in range(TRIES):
        try:
            with connection.transaction():
                cursor = connection.cursor(row_factory=class_row(SetRow))
                row = cursor.execute(statement, values).fetchone()
        except errors.SerializationFailure:
            continue  # the product was removed at the same time: it is added again
        except errors.CheckViolation as exc:
            msg = "`product_id` must have 1 to 64 characters, none of them a control character"
            raise InvalidError(msg) from exc
        assert row is not None  # noqa: S101 -- RETURNING of an upsert
        return row
    msg = f"{values['product_id']} was removed at the same time, {TRIES} times: try again"
    raise ConflictError(msg)


DELETE_ONE = """
DELETE FROM {products} WHERE product_id = %(product_id)s
RETURNING product_id, quantity, updated_at, version
"""


def remove_stock(change: Change, environment: Environment, product_id: str) -> Item:
    """Remove a product; return it as it was. Raises InvalidError, NotFoundError."""
    check_id(product_id)
    cursor = change.connection.cursor(row_factory=class_row(Row))
    statement = for_products(DELETE_ONE, environment)
    row = cursor.execute(statement, {"product_id": product_id}).fetchone()
    if row is None:
        raise _no_product(environment, product_id)
    target = f"stock:{environment}/{product_id}"
    change.record("stock.removed", target, before={"quantity": row.quantity})
    return row.item


SELECT_PAGE = """
SELECT product_id, quantity, updated_at, version FROM {products}
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


def list_stock(
    connection: Connection[TupleRow], environment: Environment, wanted: StockFilter, page: Page
) -> Listing[Item]:
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
    cursor: Cursor[Row] = connection.cursor(row_factory=class_row(Row))
    rows = cursor.execute(for_products(SELECT_PAGE, environment), values).fetchall()
    return listing([row.item for row in rows], page, lambda item: item.product_id)


def for_products(statement: str, environment: Environment) -> sql.Composed:
    """Return a statement for the products of one environment."""
    return sql.SQL(statement).format(products=sql.Identifier(environment, "products"))  # pyright: ignore[reportArgumentType]


def _no_product(environment: Environment, product_id: str) -> NotFoundError:
    return NotFoundError(f"there is no product {product_id} in {environment}")
