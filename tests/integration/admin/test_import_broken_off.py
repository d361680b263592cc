"""Imports whose admin or whose PostgreSQL goes away; each on a database and an admin of its own."""

import contextlib
import threading
import time
from collections.abc import Generator
from pathlib import Path

import httpx
import psycopg
import pytest

from services.admin.stock.importing import BrokenOffError, ImportOptions
from tests.admin_process import AdminProcess, CommandLine, running_admin, settings_for
from tests.conftest import Database
from tests.integration.admin.imports import (
    CSV,
    Owner,
    begun,
    changes_to,
    imported,
    lines,
    noted,
    present,
)
from tools.waiting import wait_for


@pytest.fixture
def admin(database: Database, tmp_path: Path) -> Generator[AdminProcess]:
    with running_admin(tmp_path, settings_for(database)) as running:
        yield running


@pytest.fixture
def run(admin: AdminProcess) -> CommandLine:
    return admin.run


@pytest.fixture
def owner(database: Database) -> Generator[Owner]:
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        yield connection


def test_an_import_that_is_killed_leaves_the_line_of_its_beginning(
    admin: AdminProcess, owner: Owner
) -> None:
    content = lines((f"NEW-{number:05}", 9_999) for number in range(20_000))

    def post() -> None:
        with contextlib.suppress(httpx.TransportError):
            admin.client(timeout=30).post(
                "/live/stock/import?add=true&file_name=daily.csv", content=content, headers=CSV
            )

    thread = threading.Thread(target=post)
    thread.start()
    wait_for(lambda: changes_to(owner, 9_999) > 0, "the import has begun")
    admin.running.process.kill()
    thread.join(timeout=30)
    assert [entry["file"] for entry in begun(owner).values()] == ["daily.csv"]
    assert noted(owner) == []


@pytest.mark.long
@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_a_service_that_ends_lets_an_import_end_in_order(
    admin: AdminProcess, owner: Owner, accept: str
) -> None:
    """It would take 15 s; the service drains for 8 s, then the import notes how far it came."""
    content = lines((f"NEW-{number:05}", 9_999) for number in range(60_000))

    def post() -> None:
        with contextlib.suppress(httpx.TransportError):
            admin.client(timeout=30).post(
                "/live/stock/import?add=true", content=content, headers={**CSV, "Accept": accept}
            )

    thread = threading.Thread(target=post)
    thread.start()
    wait_for(lambda: changes_to(owner, 9_999) > 0, "the import has begun")
    admin.running.process.terminate()
    thread.join(timeout=30)
    wait_for(lambda: len(noted(owner)) == 1, "the import is in the audit log")
    [entry] = noted(owner)
    assert entry["broken_off"] == "the program is ending"
    assert entry["added"] + entry["not_reached"] == 60_000
    assert len(present(owner)) == 5_000 + entry["added"]


def test_an_import_whose_admin_is_killed_says_that_it_may_be_done(
    run: CommandLine, admin: AdminProcess, owner: Owner, tmp_path: Path
) -> None:
    (tmp_path / "f.csv").write_bytes(lines((f"NEW-{number:05}", 9_000) for number in range(20_000)))

    def kill_once_begun() -> None:
        wait_for(lambda: changes_to(owner, 9_000) > 0, "the import has begun")
        admin.running.process.kill()

    killer = threading.Thread(target=kill_once_begun)
    killer.start()
    result = run(f"stock import {tmp_path}/f.csv --env live --add")
    killer.join(timeout=30)
    assert (result.exit_code, "look in the audit log" in result.stderr) == (4, True), result.stderr


@contextlib.contextmanager
def connections_killed_once_begun(owner: Owner) -> Generator[None]:
    """End all sessions of admin as soon as an import has changed something."""
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename = 'admin' AND datname = current_database()"
    )

    def kill_once_begun() -> None:
        while not changes_to(owner, 9_000):
            time.sleep(0.002)
        owner.execute(kill)

    killer = threading.Thread(target=kill_once_begun, daemon=True)
    killer.start()
    yield
    killer.join(timeout=10)


def test_an_import_that_loses_postgresql_says_how_far_it_came(
    run: CommandLine, owner: Owner, tmp_path: Path
) -> None:
    ids = sorted(present(owner))[:2_000]
    (tmp_path / "f.csv").write_bytes(lines((product_id, 9_000) for product_id in ids))
    with connections_killed_once_begun(owner):
        result = run(f"stock import {tmp_path}/f.csv --env live --rate 1000")
    assert result.exit_code == 4, result.output
    assert "broken off" in result.stderr
    [entry] = noted(owner)
    assert "terminating connection" in entry["broken_off"]
    assert entry["not_reached"] > 0
    again = run.json(f"stock import {tmp_path}/f.csv --env live")
    assert again["changed"] + again["unchanged"] == 2_000
    assert again["unchanged"] >= 500


def test_an_end_that_cannot_be_noted_is_said(database: Database, owner: Owner) -> None:
    content = lines((product_id, 9_000) for product_id in sorted(present(owner))[:2_000])
    with (
        connections_killed_once_begun(owner),
        pytest.raises(BrokenOffError, match="audit log has only the beginning of this run"),
    ):
        imported(database, content, options=ImportOptions(rate=1_000))
    assert (len(begun(owner)), noted(owner)) == (1, [])
