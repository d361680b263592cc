"""Seed: retail-like products to start with, the same every time; another set for the sandbox."""

import random
from collections.abc import Iterator

import psycopg

from services.core.database import use_environment
from services.core.environments import Environment

PRODUCTS = 5_000  # a partner's listing (Q11)
DEPARTMENTS = ("AUDIO", "CAMERA", "GAMING", "HOME", "KITCHEN", "LAPTOP", "PHONE", "TABLET", "TV")
OUT_OF_STOCK_SHARE, LOW_STOCK_SHARE = 0.06, 0.14
TYPICAL_QUANTITY, SPREAD = 3.9, 0.9  # of a log-normal: median 49 units, one in a hundred above 400


def seed(owner_url: str, environment: Environment) -> int:
    """Insert the products if the environment has none; return how many were inserted.

    Stock that was there from the start is news to nobody: it makes no events.
    """
    with psycopg.connect(owner_url) as connection:
        use_environment(connection, environment)
        if connection.execute("SELECT FROM products LIMIT 1").fetchone() is not None:
            return 0
        copy = "COPY products (product_id, quantity) FROM STDIN"
        with connection.cursor().copy(copy) as rows:
            for product in products(environment):
                rows.write_row(product)
        connection.execute("UPDATE stock_changes SET relayed = true")
    return PRODUCTS


def products(environment: Environment) -> Iterator[tuple[str, int]]:
    """Yield (product_id, quantity in units): `TV-00042`, in the sandbox `TEST-TV-00042`."""
    chance = random.Random(f"partner-inventory-sync:{environment}")  # noqa: S311 -- not a secret
    marker = "" if environment is Environment.LIVE else "TEST-"
    for number in range(PRODUCTS):
        department = chance.choice(DEPARTMENTS)
        yield f"{marker}{department}-{number + 1:05}", _quantity(chance)


def _quantity(chance: random.Random) -> int:
    draw = chance.random()
    if draw < OUT_OF_STOCK_SHARE:
        return 0
    if draw < OUT_OF_STOCK_SHARE + LOW_STOCK_SHARE:
        return chance.randint(1, 10)
    return max(11, round(chance.lognormvariate(TYPICAL_QUANTITY, SPREAD)))
