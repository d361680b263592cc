"""docs/operations.md says for every table how long its rows stay, as the programs do it."""

import re
from pathlib import Path

import psycopg
import pytest

from services.webhooks.scheduler.retention import BATCH, KEEP_CHANGES, KEEP_EVENTS, KEEP_MAILS
from tests.conftest import Database

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
TABLES = """
SELECT table_schema || '.' || table_name FROM information_schema.tables
WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
"""
KEPT = {"events": KEEP_EVENTS, "stock_changes": KEEP_CHANGES, "mails": KEEP_MAILS}


def section() -> str:
    return OPERATIONS.read_text().partition("## How long rows stay")[2].partition("\n## ")[0]


def rows_kept() -> dict[str, tuple[str, str]]:
    """Return how long the rows of each table stay, and what removes them."""
    lines = re.findall(r"^\| (`.+?) \| (.+?) \| (.+?) \|$", section(), re.MULTILINE)
    return {
        table: (stay, removed_by)
        for names, stay, removed_by in lines
        for table in re.findall(r"`(.+?)`", names)
    }


def test_every_table_is_listed_and_no_other(database: Database) -> None:
    with psycopg.connect(database.owner_url) as owner:
        tables = {row[0] for row in owner.execute(TABLES)}
    assert len(tables) > 20
    assert set(rows_kept()) == tables


@pytest.mark.parametrize("table", KEPT)
def test_the_times_are_those_of_retention(table: str) -> None:
    for environment in ("live", "sandbox"):
        stay, removed_by = rows_kept()[f"{environment}.{table}"]
        assert f"{KEPT[table].days} days after" in stay
        assert removed_by == "retention"
    assert f"{BATCH} rows of a kind" in section()
