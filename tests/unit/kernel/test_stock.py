"""The one definition of a stock status (Q3)."""

import re
from pathlib import Path

import pytest

from services.domain.stock import StockStatus, stock_status

SERVICES = Path(__file__).parents[3] / "services"


@pytest.mark.parametrize(
    ("quantity", "status"),
    [
        (0, StockStatus.OUT_OF_STOCK),
        (1, StockStatus.LOW_STOCK),
        (10, StockStatus.LOW_STOCK),
        (11, StockStatus.IN_STOCK),
        (2**31 - 1, StockStatus.IN_STOCK),
    ],
)
def test_the_status_follows_the_quantity(quantity: int, status: StockStatus) -> None:
    assert stock_status(quantity) is status


def test_nothing_else_in_the_code_base_spells_a_status() -> None:
    spelled = re.compile(r"""["'](in_stock|low_stock|out_of_stock)["']""")
    files = [path for path in SERVICES.rglob("*.py") if path.name != "stock.py"]
    assert len(files) > 20
    assert [str(path) for path in files if spelled.search(path.read_text())] == []
