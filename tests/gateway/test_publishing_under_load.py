"""Publishing under load: 100 publishes while 200 requests a second pass (A2)."""

import threading
import time
from collections import Counter
from typing import Self

import pytest

from tests.gateway.policy import LIVE_KEY, own_address, own_path
from tools.gateway_node import Document, Node
from tools.wire import request

PUBLISHES = 100
RATE = 200  # requests a second, of all users together
USERS = 8


class Users:
    """Callers with a key that stays, each sending at its own even pace, late answers or not."""

    def __init__(self, node: Node) -> None:
        self.statuses: Counter[int | str] = Counter()
        self._node = node
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(USERS)]
        self._began = 0.0

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(timeout=30)
        self.seconds = time.monotonic() - self._began

    def _ask(self) -> None:
        interval = USERS / RATE
        with self._node.wire() as wire:
            due = time.monotonic()
            while not self._done.wait(max(0.0, due - time.monotonic())):
                due += interval
                try:
                    wire.send(request("POST", own_path(), ("X-API-Key", LIVE_KEY), body=b"{}"))
                    self.statuses[wire.answer().status] += 1
                except OSError as exc:
                    self.statuses[type(exc).__name__] += 1
                    return


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
    with Users(node) as users:
        for number in range(PUBLISHES // 2):
            node.publish(policy | {"consumers": [*consumers, leaver(number)]})
            welcomed[status_of(node, f"leaver-key-{number}")] += 1
            node.publish(policy)
            refused[status_of(node, f"leaver-key-{number}")] += 1
    rate = users.statuses.total() / users.seconds
    print(f"{users.statuses} at {rate:.0f}/s; new keys {welcomed}, revoked keys {refused}")
    assert set(users.statuses) == {200}
    assert welcomed == {200: PUBLISHES // 2}
    assert set(refused) <= {401, 429}, "where all have one address its limit is met: refused too"
    assert rate > RATE / 2  # a machine that can't keep the pace has shown less than it says
