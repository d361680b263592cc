"""What a suspended partner is told: the same on every path, with every key, and not without end."""

import time
from collections.abc import Callable

import pytest

from services.core.errors import SUSPENDED_MESSAGE
from tests.gateway.envelope import assert_own_error
from tests.gateway.policy import (
    INVENTORY,
    LIVE_KEY,
    SANDBOX_HOST,
    SANDBOX_ONLY,
    WEBHOOKS,
    Places,
    conformance_policy,
    own_path,
    partner,
)
from tests.gateway.recording_service import RecordingService
from tools.gateway_node import Document, Node
from tools.wire import Answer, request

CODE = "PARTNER_SUSPENDED"
ROOM = 10.0  # seconds of the minute that the flood needs at most


def ask(
    node: Node,
    path: str,
    key: str,
    *,
    method: str = "GET",
    host: str = "gateway",
    body: bytes = b"",
) -> Answer:
    return node.ask(method, path, ("X-API-Key", key), host=host, body=body)


@pytest.mark.parametrize("key", ["halted-key", "halted-key-two"])
@pytest.mark.parametrize("path", [INVENTORY, WEBHOOKS, f"{WEBHOOKS}/x/deliveries/y/retry"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_each_key_of_it_is_told_on_every_path(node: Node, key: str, path: str, method: str) -> None:
    assert_own_error(ask(node, path, key, method=method), 403, CODE, SUSPENDED_MESSAGE)


@pytest.mark.parametrize("path", [INVENTORY, WEBHOOKS, f"{SANDBOX_ONLY}/inventory/A"])
def test_it_is_suspended_in_the_sandbox_too(node: Node, path: str) -> None:
    answer = ask(node, path, "halted-sandbox-key", host=SANDBOX_HOST)
    assert_own_error(answer, 403, CODE, SUSPENDED_MESSAGE)


def test_it_is_told_the_same_with_a_key_of_the_other_environment(node: Node) -> None:
    for key, host in (("halted-key", SANDBOX_HOST), ("halted-sandbox-key", "gateway")):
        assert_own_error(ask(node, INVENTORY, key, host=host), 403, CODE, SUSPENDED_MESSAGE)


def test_its_requests_never_reach_the_service(node: Node, service: RecordingService) -> None:
    path = own_path()
    assert ask(node, path, "halted-key", method="POST", body=b"{}").status == 403
    assert ask(node, path, LIVE_KEY).status == 200
    assert [seen.header("X-Consumer-Username") for seen in service.received(path)] == ["techmart"]


def test_an_answer_to_head_has_headers_only(node: Node) -> None:
    answer = ask(node, INVENTORY, "halted-key", method="HEAD")
    assert (answer.status, answer.body) == (403, b"")


def test_its_other_faults_are_told_as_everybodys(node: Node) -> None:
    too_much = ask(node, INVENTORY, "halted-key", method="POST", body=b"x" * 140_000)
    assert_own_error(too_much, 413, "PAYLOAD_TOO_LARGE")
    assert_own_error(ask(node, "/partner/v1/unknown", "halted-key"), 404, "NOT_FOUND")


def test_what_is_for_anybody_is_for_it_too(node: Node) -> None:
    assert ask(node, "/partner/v1/docs", "halted-key").status == 200


def test_a_flood_of_it_is_limited_by_its_tier(node: Node) -> None:
    left = 60 - time.time() % 60
    if left < ROOM:
        time.sleep(left + 0.05)
    with node.wire() as wire:
        answers: list[Answer] = []
        for _ in range(62):
            wire.send(request("GET", INVENTORY, ("X-API-Key", "halted-flood-key")))
            answers.append(wire.answer())
    assert [answer.status for answer in answers] == [403] * 60 + [429] * 2
    assert answers[0].header("RateLimit-Remaining") == "59"
    assert_own_error(answers[0], 403, CODE)
    assert_own_error(answers[-1], 429, "RATE_LIMITED")


def test_a_publish_suspends_and_resumes(
    node: Node, places: Places, publish: Callable[[Document | str], None]
) -> None:
    for suspended, status in ((False, 200), (True, 403), (False, 200)):
        paused = partner("paused", "qa", "paused-key", suspended=suspended)
        publish(conformance_policy(places, paused))
        assert ask(node, INVENTORY, "paused-key").status == status
