"""Restarts: one process after the other is restarted under load, and no request is lost."""

import json
import uuid
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from services.core.environments import Environment
from services.local.valkey import RunningValkey
from tests import webhooks_process
from tests.conftest import Database
from tests.gateway.policy import INVENTORY, WEBHOOKS
from tests.life.pairs import Pair, Users, exchange, gateway_before, running_pair
from tests.webhook_rows import WebhookRows
from tools import query_process
from tools.wire import Wire

RESTARTS = 3  # of each process
LEAVES_WITHIN = 10.0  # seconds; a checked process stays 3.5, compose.yaml gives 20

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]


def restart_in_turn(pair: Pair) -> list[float]:
    """Restart both, again and again; return how long each took to end."""
    return [pair.restart(each) for _ in range(RESTARTS) for each in pair.addresses]


def ask_stock(wire: Wire, outcomes: Counter[str]) -> None:
    exchange(wire, outcomes, "POST", INVENTORY, {"product_ids": ["TABLET-00001", "TABLET-00002"]})
    exchange(wire, outcomes, "GET", f"{INVENTORY}?product_ids=TABLET-00001")


def register_and_remove(wire: Wire, outcomes: Counter[str]) -> None:
    asked = {"url": f"https://shop.example/{uuid.uuid4()}", "events": ["inventory.updated"]}
    made = json.loads(exchange(wire, outcomes, "POST", WEBHOOKS, asked))
    if "id" in made:
        exchange(wire, outcomes, "DELETE", f"{WEBHOOKS}/{made['id']}")


def test_a_rolling_restart_of_query_loses_no_request(
    database: Database, valkey: RunningValkey, tmp_path: Path
) -> None:
    settings = query_process.settings_for(database.url("live_query"), valkey.url)
    with (
        running_pair("query", "partner", settings, tmp_path) as pair,
        gateway_before({"query": pair}, valkey, tmp_path) as node,
        Users(node, ask_stock) as users,
    ):
        took = restart_in_turn(pair)
    assert not users.failed()
    assert users.outcomes["POST 200"] > 500
    assert users.outcomes["GET 200"] > 500
    assert max(took) < LEAVES_WITHIN


def test_a_rolling_restart_of_the_webhooks_api_loses_no_change(
    database: Database, valkey: RunningValkey, tmp_path: Path
) -> None:
    settings = webhooks_process.settings_for(
        database.url("live_webhooks"), valkey.url, ENDPOINT_LIMIT=100
    )
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        rows = WebhookRows(owner, Environment.LIVE)
        rows.partner("techmart")
        with (
            running_pair("webhooks", "api", settings, tmp_path) as pair,
            gateway_before({"webhooks": pair}, valkey, tmp_path) as node,
            Users(node, register_and_remove) as users,
        ):
            restart_in_turn(pair)
        assert not users.failed()
        assert users.outcomes["POST 201"] == users.outcomes["DELETE 204"] > 200
        # Each was made once: a POST that was sent again would have left another behind.
        made = rows.one("SELECT count(*) FROM {env}.endpoints")
        left = rows.one("SELECT count(*) FROM {env}.endpoints WHERE state <> 'deleted'")
        assert (made, left) == (users.outcomes["POST 201"], 0)
