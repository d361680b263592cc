"""Replaced processes: two query processes behind the gateway go and come back under load."""

import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.local.valkey import RunningValkey
from services.policy.render import Addresses, render
from tests.conftest import Database
from tests.gateway.policy import INVENTORY, KONG_YML, LIVE_KEY, Places, partner
from tests.gateway.target_health import states
from tests.life.pairs import USERS, Pair, Users, exchange, running_pair
from tools import query_process
from tools.gateway_node import BACKEND_TOKEN, Document, Node
from tools.waiting import wait_for
from tools.wire import Wire

RATE = 150 / 2  # a second, of pairs of requests
ROUNDS = 2
CHECKED_WITHIN = 4.0  # seconds until a new configuration's processes are checked
NOTICED_WITHIN = 3.0  # seconds until a process that hangs gets no requests
SLOWEST_P95 = 1.0  # seconds; partners are promised 0.2, a request to a hung process takes 2

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]


@pytest.fixture
def pair(
    database: Database,
    valkey: RunningValkey,
    places: Places,
    publish: Callable[[Document | str], None],
    tmp_path: Path,
) -> Iterator[Pair]:
    """Two query processes, and the gateway with an upstream of them."""
    settings = query_process.settings_for(database.url("live_query"), valkey.url)
    settings["BACKEND_TOKEN"] = BACKEND_TOKEN
    with running_pair("query", "partner", settings, tmp_path) as running:
        elsewhere = places.service.removeprefix("http://")
        targets = {
            **dict.fromkeys(("sandbox-query", "webhooks", "sandbox-webhooks"), (elsewhere,)),
            "query": [f"{address}:{running.port}" for address in running.addresses],
        }
        consumers = [partner("techmart", "qa", LIVE_KEY)]
        addresses = Addresses(targets, places.counters)
        publish(render(KONG_YML.read_text("utf-8"), consumers, addresses))
        yield running


class Callers(Users):
    """Callers who ask for stock by POST and GET, and note how long each pair of requests took.

    `pytest -s` shows what they saw.
    """

    def __init__(self, node: Node) -> None:
        super().__init__(node, self._ask_stock, RATE)
        self.took: list[tuple[float, float]] = []  # when a pair began, and its seconds

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        print(f"{dict(self.outcomes)}, P95 of two requests {_p95(self.took):.3f} s")

    def _ask_stock(self, wire: Wire, outcomes: Counter[str]) -> None:
        began = time.monotonic()
        exchange(wire, outcomes, "POST", INVENTORY, {"product_ids": ["TABLET-00001"]})
        exchange(wire, outcomes, "GET", f"{INVENTORY}?product_ids=TABLET-00001")
        self.took.append((began, time.monotonic() - began))


def both_get_requests(node: Node) -> bool:
    """Say whether the gateway sends requests to both processes."""
    return list(states(node, "query").values()) == ["healthy"] * 2


def test_processes_that_are_replaced_in_turn_cost_no_request(node: Node, pair: Pair) -> None:
    with Callers(node) as callers:
        # A node that has just been configured checks nobody yet.
        wait_for(lambda: len(callers.took) > CHECKED_WITHIN * RATE, "some seconds of requests")
        for address in pair.addresses * ROUNDS:
            pair.restart(address)  # SIGTERM, its drain, the next one ready; no wait in between
    assert not callers.failed()
    assert callers.outcomes["POST 200"] > 100 * ROUNDS


def test_a_process_that_is_killed_costs_the_posts_in_its_hands_and_no_other(
    node: Node, pair: Pair
) -> None:
    kills = pair.addresses * ROUNDS
    with Callers(node) as callers:
        for address in kills:
            wait_for(lambda: both_get_requests(node), "requests to both")
            pair.processes[address].send_signal(signal.SIGKILL)
            pair.processes[address].wait()
            pair.start(address)
    # A POST that was sent is not sent again, as it may have been carried out.
    assert callers.failed().keys() <= {"POST 502"}
    assert callers.failed().get("POST 502", 0) <= USERS * len(kills)
    assert callers.outcomes["POST 200"] > 100 * ROUNDS


def test_a_process_that_hangs_slows_requests_for_seconds_only(node: Node, pair: Pair) -> None:
    hung = pair.processes[pair.addresses[0]]
    with Callers(node) as callers:
        wait_for(lambda: len(callers.took) > 100, "callers")
        hung.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        try:
            recovered = stopped + NOTICED_WITHIN
            wait_for(lambda: bool(_after(callers, recovered + 3)), "3 s of requests after that")
        finally:
            hung.send_signal(signal.SIGCONT)
    # Each caller may have one POST waiting until the gateway has noticed.
    assert callers.failed().keys() <= {"POST 504"}
    assert callers.failed().get("POST 504", 0) <= USERS
    assert _p95(_after(callers, recovered)) < SLOWEST_P95


def _after(callers: Callers, moment: float) -> list[tuple[float, float]]:
    return [each for each in list(callers.took) if each[0] > moment]


def _p95(took: list[tuple[float, float]]) -> float:
    return statistics.quantiles([seconds for _, seconds in took], n=20)[-1]
