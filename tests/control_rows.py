"""Rows that tests on a shared database begin without, and the seed that some begin with."""

import contextlib
from collections.abc import Generator
from typing import Any

import psycopg

from services.core.environments import Environment
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


def keep_the_seed(owner: psycopg.Connection[Any]) -> None:
    """Copy the products of a new database, for seed_again."""
    owner.execute("CREATE SCHEMA seed")
    for environment in Environment:
        owner.execute(f"CREATE TABLE seed.{environment} AS TABLE {environment}.products")


def seed_again(owner: psycopg.Connection[Any]) -> None:
    """Have the seed's products, and no change of them to relay."""
    with owner.transaction():
        owner.execute("SET LOCAL session_replication_role = replica")  # without triggers
        for environment in Environment:
            owner.execute(f"TRUNCATE {environment}.products, {environment}.stock_changes")
            owner.execute(f"INSERT INTO {environment}.products TABLE seed.{environment}")
