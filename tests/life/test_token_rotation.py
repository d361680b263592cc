"""The rotation of the backend token, carried out under load as docs/deployment.md tells it."""

import contextlib
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest

from services.core import headers
from services.core.environments import Environment
from services.local.valkey import RunningValkey
from tests.conftest import Database
from tests.gateway.policy import INVENTORY
from tests.life.pairs import Pair, Users, exchange, gateway_before, running_pair
from tools.query_process import CREDENTIAL_ID, settings_for
from tools.waiting import wait_for
from tools.wire import Wire

OLD = "the-backend-token-of-before-0123456789"
NEW = "the-backend-token-that-is-new-0123456789"

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]


def ask_stock(wire: Wire, outcomes: Counter[str]) -> None:
    exchange(wire, outcomes, "POST", INVENTORY, {"product_ids": ["TABLET-00001"]})


def restart_with(pair: Pair, *tokens: str) -> None:
    """Have both services accept these tokens, one restarted after the other."""
    pair.settings = {**pair.settings, "BACKEND_TOKEN": ",".join(tokens)}
    for address in pair.addresses:
        pair.restart(address)


def statuses(pair: Pair, token: str) -> set[int]:
    """Return what the services answer to a gateway with this token."""
    sent = {
        headers.BACKEND_TOKEN: token,
        headers.CONSUMER_CUSTOM_ID: Environment.LIVE.custom_id("techmart"),
        headers.CREDENTIAL_IDENTIFIER: CREDENTIAL_ID,
    }
    urls = [f"http://{each}:{pair.port}{INVENTORY}?product_ids=A" for each in pair.addresses]
    return {httpx.get(url, headers=sent, trust_env=False).status_code for url in urls}


@contextlib.contextmanager
def used_node(
    pair: Pair, valkey: RunningValkey, folder: Path, token: str
) -> Generator[Counter[str]]:
    """Run a node that sends a token, and users of it; they leave before it does."""
    with (
        gateway_before({"query": pair}, valkey, folder, token) as node,
        Users(node, ask_stock) as users,
    ):
        wait_for(lambda: users.outcomes.total() > 50, "answers of the node")
        yield users.outcomes


def test_a_rotation_of_the_backend_token_fails_no_request(
    database: Database, valkey: RunningValkey, tmp_path: Path
) -> None:
    settings = settings_for(database.url("live_query"), valkey.url) | {"BACKEND_TOKEN": OLD}
    seen: list[Counter[str]] = []
    with (
        running_pair("query", "partner", settings, tmp_path) as pair,
        contextlib.ExitStack() as kong_1,
        contextlib.ExitStack() as kong_2,
    ):

        def start(node: contextlib.ExitStack, name: str, token: str) -> None:
            node.close()  # the load balancer has the other one meanwhile
            seen.append(node.enter_context(used_node(pair, valkey, tmp_path / name, token)))

        start(kong_1, "kong-1", OLD)
        start(kong_2, "kong-2", OLD)
        restart_with(pair, OLD, NEW)
        start(kong_1, "kong-1", NEW)
        start(kong_2, "kong-2", NEW)
        assert (statuses(pair, OLD), statuses(pair, NEW)) == ({200}, {200})
        restart_with(pair, NEW)
        assert (statuses(pair, OLD), statuses(pair, NEW)) == ({403}, {200})
    assert [set(outcomes) for outcomes in seen] == [{"POST 200"}] * 4
