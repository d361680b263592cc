"""Kernel: what a quantity means to a partner, the one definition in the code base (Q3)."""

from enum import StrEnum

LOW_STOCK_MAXIMUM = 10  # units; above it a product is in stock


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
