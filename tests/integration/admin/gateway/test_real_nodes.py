"""The reconciler with embedded gateways: what partners and the platform team are promised."""

import threading
import time
from collections import Counter
from typing import Any, Self

import httpx
import pytest

from services.admin.gateway import store
from services.admin.gateway.node_sync import text_hash
from tests.integration.admin.gateway.conftest import KONG_YML, Gateway, Reconcile
from tests.integration.admin.gateway.real_nodes import LIVE_PATH, RealNode
from tests.unit.admin.check.broken import FILES
from tools.waiting import wait_for

PROMISED = 5.0  # seconds


def test_a_revoked_key_is_refused_on_each_node(
    gateway: Gateway, nodes: list[RealNode], reconciling: Reconcile
) -> None:
    revoked, kept = gateway.new_key(), gateway.new_key()
    with reconciling(gateway.with_nodes(*(node.url for node in nodes))):
        for node in nodes:
            wait_for(lambda node=node: node.ask(revoked.secret) == 200, "a key that works")
        began = time.monotonic()
        gateway.revoke(revoked)
        for node in nodes:
            wait_for(lambda node=node: node.ask(revoked.secret) == 401, "a refusal", PROMISED)
        print(f"refused on both nodes after {time.monotonic() - began:.3f} s")
        assert [node.ask(kept.secret) for node in nodes] == [200, 200]


def test_a_node_that_was_killed_and_wiped_is_right_again_with_what_changed_meanwhile(
    gateway: Gateway, nodes: list[RealNode], reconciling: Reconcile
) -> None:
    revoked, other = gateway.new_key(), nodes[1]
    node = nodes[0]
    with reconciling(gateway.with_nodes(*(node.url for node in nodes))):
        for each in nodes:
            wait_for(lambda each=each: each.ask(revoked.secret) == 200, "a key that works")
        node.kill()
        node.wipe()
        gateway.revoke(revoked)
        added = gateway.new_key("acme", "basic")
        wait_for(lambda: other.ask(added.secret) == 200, "the node that is there", PROMISED)
        node.begin()
        wait_for(node.is_up, "the node back")
        began = time.monotonic()
        wait_for(lambda: node.ask(added.secret) == 200, "the new partner", PROMISED)
        assert node.ask(revoked.secret) == 401
        assert node.hash() == other.hash()
        print(f"right {time.monotonic() - began:.2f} s after it was back")


def test_drift_is_mended(gateway: Gateway, nodes: list[RealNode], reconciling: Reconcile) -> None:
    key = gateway.new_key()
    with reconciling(gateway.with_nodes(*(node.url for node in nodes))):
        for node in nodes:
            wait_for(lambda node=node: node.ask(key.secret) == 200, "a key that works")
        empty = {"config": '{"_format_version": "3.0"}'}
        assert httpx.post(f"{nodes[0].url}/config", json=empty).status_code == 201
        began = time.monotonic()
        wait_for(lambda: nodes[0].ask(key.secret) == 200, "what was meant", PROMISED)
        print(f"drift mended after {time.monotonic() - began:.2f} s")


class Traffic:
    """Requests with a good key, one after the other, from when it begins to its end."""

    def __init__(self, node: RealNode, key: str) -> None:
        self.statuses: Counter[int | str] = Counter()
        self._address = f"http://127.0.0.1:{node.port}{LIVE_PATH}"
        self._headers = {"X-API-Key": key}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with httpx.Client(headers=self._headers) as client:
            while not self._done.wait(0.005):
                try:
                    self.statuses[client.post(self._address, json={}).status_code] += 1
                except httpx.TransportError as exc:
                    self.statuses[type(exc).__name__] += 1

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._done.set()
        self._thread.join(10)


@pytest.mark.long
def test_none_of_a_hundred_broken_files_is_published_and_traffic_is_unharmed(
    gateway: Gateway, nodes: list[RealNode], reconciling: Reconcile, logs: list[Any]
) -> None:
    node, key = nodes[0], gateway.new_key()
    with reconciling(gateway.with_nodes(node.url)):
        wait_for(lambda: node.ask(key.secret) == 200, "a key that works")
        meant = node.hash()
        with Traffic(node, key.secret) as traffic, gateway.connect() as connection:
            for broken in FILES:
                gateway.write_policy(broken.text)
                connection.execute("NOTIFY control_gateway")  # or it would look in a second
                told = f":{broken.line}:", broken.says

                def is_told(told: tuple[str, str] = told) -> bool:
                    publisher = store.read_publisher(connection)
                    error = (publisher.policy_error if publisher else None) or ""
                    return all(words in error for words in told)

                wait_for(is_told, broken.name, PROMISED)
                assert node.hash() == meant, broken.name
            assert [e["event"] for e in logs].count("node.published") == 1
            added = gateway.new_key()
            wait_for(lambda: node.ask(added.secret) == 200, "a new key all the same", PROMISED)
            publisher = store.read_publisher(connection)
            assert publisher is not None
            assert publisher.policy_hash == text_hash(KONG_YML.read_text("utf-8"))
    print(f"{len(FILES)} files; answers {dict(traffic.statuses)}")
    # What answers behind the node shares this process with the checks of the files: on a busy
    # machine it can be late by itself.
    late = traffic.statuses.pop(504, 0)
    assert set(traffic.statuses) == {200}
    assert traffic.statuses.total() > len(FILES)
    assert late <= traffic.statuses.total() * 0.01
