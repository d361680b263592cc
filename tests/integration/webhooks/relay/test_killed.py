"""A relay process that is killed again and again: what is committed is told all the same (W9)."""

import signal
import sys
from pathlib import Path
from subprocess import Popen
from threading import Thread

import psycopg

from services.local.children import start, stop
from services.local.valkey import RunningValkey
from services.webhooks.queue import Lane, Wakeups, make_broker
from tests.conftest import Database
from tests.webhook_rows import WebhookRows
from tools.waiting import wait_for

ROUNDS, CHANGES = 3, 3_000  # kills; changes while each relay runs


def test_a_killed_relay_loses_nothing_and_doubles_nothing(
    rows: WebhookRows, database: Database, valkey: RunningValkey, tmp_path: Path
) -> None:
    endpoint = rows.endpoint(rows.partner())
    for round_ in range(ROUNDS):
        relay = start_relay(database, valkey, tmp_path)
        try:
            before = len(rows.states(endpoint))
            writing = Thread(target=write, args=(database, round_))
            writing.start()
            wait_for(lambda: len(rows.states(endpoint)) > before, "the first deliveries")  # noqa: B023
        finally:
            stop(relay, signal.SIGKILL, within=5)
        writing.join()
    relay = start_relay(database, valkey, tmp_path)
    try:
        wait_for(lambda: relayed(rows), "everything relayed")
    finally:
        stop(relay, signal.SIGTERM, within=5)
    assert relay.returncode == 0
    changes = rows.run("SELECT product_id, version FROM {env}.stock_changes ORDER BY 1, 2")
    assert len(changes) == ROUNDS * CHANGES
    assert rows.run("SELECT product_id, version FROM {env}.events ORDER BY 1, 2") == changes
    assert len(rows.states(endpoint)) == len(changes)
    wakeups = Wakeups(make_broker(valkey.url, rows.environment))
    assert wakeups.waiting(Lane.FAST) > 0


def relayed(rows: WebhookRows) -> bool:
    return rows.one("SELECT count(*) FROM {env}.stock_changes WHERE NOT relayed") == 0


def write(database: Database, round_: int) -> None:
    """Write one round's changes, each transaction a part of them."""
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        for part in range(10):
            connection.execute(
                "INSERT INTO sandbox.products (product_id, quantity)"
                " SELECT format('P-%%s-%%s-%%s', %s::int, %s::int, n), 100"
                " FROM generate_series(1, %s::int) AS n",
                [round_, part, CHANGES // 10],
            )


def start_relay(database: Database, valkey: RunningValkey, folder: Path) -> Popen[bytes]:
    environment = {
        "ENVIRONMENT": "sandbox",
        "DATABASE_URL": database.url("sandbox_webhooks"),
        "QUEUE_URL": valkey.url,
    }
    command = [sys.executable, "-m", "services.webhooks", "relay"]
    return start(command, log=folder / "relay.log", folder=folder, environment=environment)
