"""Rows of control that tests of partners and keys begin without."""

import contextlib
from collections.abc import Generator
from typing import Any

import psycopg

from tests.conftest import Database

EMPTY = (
    "DELETE FROM control.partners",
    "DELETE FROM live.partners",
    "DELETE FROM sandbox.partners",
    "DELETE FROM live.key_uses",
    "DELETE FROM sandbox.key_uses",
    "DELETE FROM control.audit",
    "DELETE FROM control.tokens WHERE name <> 'tester'",
)


@contextlib.contextmanager
def emptied(database: Database) -> Generator[psycopg.Connection[Any]]:
    """Connect as the owner of a database without partners, keys and audit; leave none behind."""
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        _empty(connection)
        yield connection
        _empty(connection)


def _empty(connection: psycopg.Connection[Any]) -> None:
    for statement in EMPTY:
        connection.execute(statement)
