"""Limits: so many requests a calendar minute, and not one more."""

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import valkey

from services.local.valkey import RunningValkey
from tests.gateway.envelope import assert_own_error
from tests.gateway.policy import (
    INVENTORY,
    LIVE_KEY,
    RANKED_KEY,
    SANDBOX_HOST,
    UNRANKED_KEY,
    Places,
    limit,
    own_address,
    own_path,
)
from tests.gateway.policy import service as policy_service
from tests.gateway.recording_service import RecordingService
from tools.gateway_node import Document, Node, embedded_node
from tools.waiting import wait_for
from tools.wire import Answer, request

ROOM = 20.0  # seconds of the minute that a case needs at most
LIMIT_HEADERS = ("Limit", "Remaining", "Reset")
REFUSAL = "Rate limit exceeded: try again after the seconds in Retry-After"


@pytest.fixture(autouse=True)
def room_in_the_minute() -> None:
    """Begin only when no minute ends soon."""
    left = 60 - time.time() % 60
    if left < ROOM:
        time.sleep(left + 0.05)


def ask_often(
    node: Node,
    count: int,
    *headers: tuple[str, str],
    path: str = INVENTORY,
    source: str | None = None,
) -> list[Answer]:
    """Ask on one connection, one request after the other."""
    with node.wire(source) as wire:
        answers: list[Answer] = []
        for _ in range(count):
            wire.send(request("GET", path, *headers))
            answers.append(wire.answer())
        return answers


def passed(answers: list[Answer]) -> int:
    """Count those that got through; all others were refused for their number."""
    by_status = Counter(answer.status for answer in answers)
    assert set(by_status) <= {200, 429}, by_status
    return by_status[200]


def test_exactly_the_limit_passes(node: Node) -> None:
    answers = ask_often(node, 70, ("X-API-Key", "exact-key"))
    assert [answer.status for answer in answers] == [200] * 60 + [429] * 10


def test_a_refusal_tells_when_to_come_back(node: Node) -> None:
    answers = ask_often(node, 62, ("X-API-Key", "told-key"))
    refused = answers[-1]
    assert_own_error(refused, 429, "RATE_LIMITED", REFUSAL)
    assert refused.header("RateLimit-Limit") == "60"
    assert refused.header("RateLimit-Remaining") == "0"
    assert refused.header("X-RateLimit-Limit-Minute") == "60"
    assert refused.header("X-RateLimit-Remaining-Minute") == "0"
    left = 60 - time.time() % 60
    assert int(refused.header("Retry-After") or 0) == pytest.approx(left, abs=2)
    assert refused.header("RateLimit-Reset") == refused.header("Retry-After")


def test_a_passed_request_tells_what_is_left(node: Node) -> None:
    first, second = ask_often(node, 2, ("X-API-Key", "unranked-key"), path="/limits/plain")
    assert first.header("RateLimit-Limit") == "40"
    left = [int(answer.header("RateLimit-Remaining") or 0) for answer in (first, second)]
    assert left[0] - left[1] == 1
    assert second.header("X-RateLimit-Limit-Minute") == "40"
    assert second.header("X-RateLimit-Remaining-Minute") == str(left[1])
    assert 0 < int(second.header("RateLimit-Reset") or 0) <= 60
    assert second.header("Retry-After") is None


def test_a_partner_s_routes_share_its_counter(node: Node) -> None:
    key = ("X-API-Key", "routes-key")
    with node.wire() as wire:
        for place in range(60):
            path = INVENTORY if place % 2 else own_path()
            wire.send(request("GET", path, key))
            assert wire.answer().status == 200
        # A wrong environment is refused by acl, before it counts.
        wire.send(request("GET", INVENTORY, key, host=SANDBOX_HOST))
        assert wire.answer().status == 403
        wire.send(request("GET", own_path(), key))
        assert wire.answer().status == 429


def test_a_partner_s_keys_share_its_counter(node: Node) -> None:
    first = ask_often(node, 40, ("X-API-Key", "keys-key"))
    second = ask_often(node, 40, ("X-API-Key", "keys-key-two"))
    assert (passed(first), passed(second)) == (40, 20)


def test_two_nodes_share_a_partner_s_counter(
    embedded_only: None, node: Node, folder: Path, policy: Document
) -> None:
    with embedded_node(folder / "second") as second:
        second.publish(policy)
        key = ("X-API-Key", "nodes-key")
        assert passed(ask_often(node, 35, key)) == 35
        assert passed(ask_often(second, 35, key)) == 25
        assert passed(ask_often(node, 5, key)) == 0


def test_a_crowd_gets_exactly_the_limit(node: Node) -> None:
    """1,100 requests on 64 connections at a limit of 1,000."""
    data = request("GET", "/partner/v1/inventory", ("X-API-Key", "crowd-key"))
    statuses: Counter[int] = Counter()
    left = threading.Semaphore(1100)
    lock = threading.Lock()

    def ask() -> None:
        with node.wire() as wire:
            while left.acquire(blocking=False):
                wire.send(data)
                status = wire.answer().status
                with lock:
                    statuses[status] += 1

    threads = [threading.Thread(target=ask) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {200: 1000, 429: 100}


def test_wrong_keys_are_limited_by_address(own_addresses: None, node: Node) -> None:
    wrong = ("X-API-Key", "pk_live_wrong")
    flood = own_address()
    answers = ask_often(node, 62, wrong, source=flood)
    assert [answer.status for answer in answers] == [401] * 60 + [429] * 2
    assert_own_error(answers[-1], 429, "RATE_LIMITED", REFUSAL)
    assert ask_often(node, 1, source=flood)[0].status == 429  # none is as wrong as a wrong one
    assert ask_often(node, 1, wrong, source=own_address())[0].status == 401


def test_the_public_documents_are_limited_by_address(own_addresses: None, node: Node) -> None:
    path, source = "/partner/v1/openapi.yaml", own_address()
    answers = ask_often(node, 121, path=path, source=source)
    assert [answer.status for answer in answers] == [200] * 120 + [429]
    assert_own_error(answers[-1], 429, "RATE_LIMITED")
    assert ask_often(node, 1, path=path, source=own_address())[0].status == 200


def test_a_limit_of_consumer_and_route_comes_before_all_others(node: Node) -> None:
    answers = ask_often(node, 21, ("X-API-Key", RANKED_KEY), path="/limits/both")
    assert passed(answers) == 20


def test_a_consumer_s_limit_comes_before_those_of_route_and_service(node: Node) -> None:
    answers = ask_often(node, 1, ("X-API-Key", RANKED_KEY), path="/limits/own")
    answers += ask_often(node, 1, ("X-API-Key", RANKED_KEY), path="/limits/plain")
    assert [answer.header("RateLimit-Limit") for answer in answers] == ["60", "60"]
    assert [answer.header("RateLimit-Remaining") for answer in answers] == ["59", "58"]


def test_a_route_s_limit_comes_before_its_service_s(node: Node) -> None:
    (own,) = ask_often(node, 1, ("X-API-Key", UNRANKED_KEY), path="/limits/own")
    (plain,) = ask_often(node, 1, ("X-API-Key", UNRANKED_KEY), path="/limits/plain")
    assert own.header("RateLimit-Limit") == "30"
    assert plain.header("RateLimit-Limit") == "40"


def test_a_limit_for_everything_holds_where_there_is_no_other(
    own_addresses: None, node: Node, publish: Callable[[Document], None], places: Places
) -> None:
    everywhere = limit(3, places.counters, limit_by="ip")
    own = limit(5, places.counters, limit_by="ip")
    services = [
        policy_service("own", places.service, "/own", plugins=[own]),
        policy_service("none", places.service, "/none"),
    ]
    publish({"_format_version": "3.0", "plugins": [everywhere], "services": services})
    source = own_address()
    assert passed(ask_often(node, 6, path="/none", source=source)) == 3
    assert passed(ask_often(node, 6, path="/own", source=source)) == 5


def test_a_limit_can_be_for_each_key(node: Node) -> None:
    first = ask_often(node, 4, ("X-API-Key", UNRANKED_KEY), path="/by-credential")
    second = ask_often(node, 4, ("X-API-Key", f"{UNRANKED_KEY}-two"), path="/by-credential")
    assert (passed(first), passed(second)) == (3, 3)


def test_without_its_store_a_tolerant_limit_lets_through_and_says_nothing(node: Node) -> None:
    answers = ask_often(node, 20, path="/loose")
    assert passed(answers) == 20
    for name in LIMIT_HEADERS:
        assert answers[0].header(f"RateLimit-{name}") is None


def test_a_store_that_is_away_is_logged_once_and_not_for_each_request(
    embedded_only: None, node: Node, folder: Path, places: Places
) -> None:
    ask_often(node, 10, path="/loose")
    lines = (folder / "node" / "gateway.log").read_text().splitlines()
    store = f":{places.no_counters.port}"
    assert len([line for line in lines if "counters.away" in line and store in line]) == 1


def test_without_its_store_a_strict_limit_is_an_error(node: Node) -> None:
    (answer,) = ask_often(node, 1, path="/strict")
    assert_own_error(answer, 500, "INTERNAL_ERROR", "An unexpected error occurred")


@contextlib.contextmanager
def stopped(server: RunningValkey) -> Generator[None]:
    """Have a Valkey hang for the length of a block."""
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


def test_a_hanging_store_costs_a_tenth_of_a_second_and_limits_again_when_it_is_back(
    node: Node, stalled_valkey: RunningValkey
) -> None:
    source = own_address()
    (before,) = ask_often(node, 1, path="/stalled", source=source)
    assert before.header("RateLimit-Limit") == "10"
    with stopped(stalled_valkey):
        began = time.monotonic()
        (hanging,) = ask_often(node, 1, path="/stalled", source=source)
        assert 0.05 < time.monotonic() - began < 1.5
        assert hanging.status == 200
        assert hanging.header("RateLimit-Limit") is None
    wait_for(
        lambda: ask_often(node, 1, path="/stalled", source=source)[0].header("RateLimit-Limit"),
        "a counter in use",
    )
    assert passed(ask_often(node, 15, path="/stalled", source=source)) < 10


def test_a_store_that_refuses_to_count_is_as_good_as_none(
    node: Node, stalled_valkey: RunningValkey
) -> None:
    with contextlib.closing(valkey.Valkey(port=stalled_valkey.port)) as store:
        store.config_set("maxmemory", "1")
        try:
            (answer,) = ask_often(node, 1, path="/stalled", source=own_address())
        finally:
            store.config_set("maxmemory", "0")
    assert answer.status == 200
    assert answer.header("RateLimit-Limit") is None


def test_a_counted_request_reaches_the_service_once(node: Node, service: RecordingService) -> None:
    path = own_path()
    ask_often(node, 3, ("X-API-Key", LIVE_KEY), path=path)
    assert len(service.received(path, 3)) == 3
