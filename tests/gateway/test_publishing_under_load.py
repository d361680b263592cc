"""Publishing under load: 100 publishes while 200 requests a second pass (A2)."""

import time
from collections import Counter

import pytest

from tests.gateway.policy import own_address, own_path
from tests.life.pairs import RATE, Users, exchange
from tools.gateway_node import Document, Node
from tools.wire import Wire, request

PUBLISHES = 100


def ask(wire: Wire, outcomes: Counter[str]) -> None:
    """Ask with a key that stays."""
    exchange(wire, outcomes, "POST", own_path(), {})


def leaver(number: int) -> Document:
    """Return a partner who comes with one publish and goes with the next."""
    return {
        "username": f"leaver-{number}",
        "acls": [{"group": "live"}],
        "keyauth_credentials": [{"key": f"leaver-key-{number}"}],
    }


def status_of(node: Node, key: str) -> int:
    with node.wire(own_address()) as wire:  # wrong keys are limited by address
        wire.send(request("GET", own_path(), ("X-API-Key", key)))
        return wire.answer().status


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_hundred_publishes_fail_no_request_and_revive_no_key(
    node: Node, policy: Document
) -> None:
    welcomed: Counter[int] = Counter()
    refused: Counter[int] = Counter()
    consumers = policy["consumers"]
    began = time.monotonic()
    with Users(node, ask) as users:
        for number in range(PUBLISHES // 2):
            node.publish(policy | {"consumers": [*consumers, leaver(number)]})
            welcomed[status_of(node, f"leaver-key-{number}")] += 1
            node.publish(policy)
            refused[status_of(node, f"leaver-key-{number}")] += 1
    rate = users.outcomes.total() / (time.monotonic() - began)
    print(f"{users.outcomes} at {rate:.0f}/s; new keys {welcomed}, revoked keys {refused}")
    assert set(users.outcomes) == {"POST 200"}
    assert welcomed == {200: PUBLISHES // 2}
    assert set(refused) <= {401, 429}, "where all have one address its limit is met: refused too"
    assert rate > RATE / 2  # a machine that can't keep the pace has shown less than it says
