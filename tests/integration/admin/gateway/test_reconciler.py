"""The reconciler with nodes in this process: refusals, broken files, hanging nodes, two admins."""

import json
import sys
import time
from pathlib import Path
from typing import Any, Self

import msgspec

from services.admin.gateway import store
from services.admin.gateway.node_sync import NodeState, text_hash
from services.admin.settings import AdminSettings
from services.local.children import free_port, start
from tests.integration.admin.gateway.conftest import Gateway, Reconcile
from tests.integration.admin.gateway.stub_nodes import StubNode
from tools.waiting import wait_for

PROMISED = 5.0  # seconds until a node is right
BROKEN = "services: [\n"


def of_new_policy(text: str) -> bool:
    """Say whether a rendered text has the limit of `changed`."""
    return '"minute":301' in text


def changed(policy: str) -> str:
    """Return kong.yml with another limit of tier standard."""
    return policy.replace("minute: 300", "minute: 301")


def accepted_by_all(gateway: Gateway) -> None:
    wanted = gateway.policy_file.read_text("utf-8")
    wait_for(lambda: gateway.accepted() == wanted, "kong.yml accepted", PROMISED)


def test_nodes_get_what_there_is_and_every_change_after_it(
    gateway: Gateway, stub: StubNode, other_stub: StubNode, reconciling: Reconcile
) -> None:
    first = gateway.new_key()
    with reconciling(gateway.with_nodes(stub.url, other_stub.url)):
        for node in (stub, other_stub):
            wait_for(lambda node=node: node.has_key(first.secret), "the first key", PROMISED)
        accepted_by_all(gateway)
        second = gateway.new_key()
        gateway.revoke(first)
        for node in (stub, other_stub):
            wait_for(lambda node=node: node.has_key(second.secret), "the second key", PROMISED)
            wait_for(lambda node=node: not node.has_key(first.secret), "one key", PROMISED)


def test_rows_tell_what_nodes_run(gateway: Gateway, stub: StubNode, reconciling: Reconcile) -> None:
    gateway.new_key()
    away = f"http://127.0.0.1:{free_port()}"
    with gateway.connect() as connection:
        connection.execute(
            "INSERT INTO control.gateway_nodes (url, state, since, seen_at)"
            " VALUES ('http://removed', 'current', now(), now())"
        )
    with reconciling(gateway.with_nodes(stub.url, away)):
        wait_for(lambda: len(gateway.rows(stub.url, away)) == 2, "both rows", PROMISED)
        wait_for(
            lambda: gateway.rows(stub.url)[stub.url].state is NodeState.CURRENT, "it", PROMISED
        )
        rows = gateway.rows(stub.url, away, "http://removed")
        assert set(rows) == {stub.url, away}
        assert (rows[stub.url].hash, rows[stub.url].error) == (stub.hash, None)
        assert rows[away].state is NodeState.AWAY
        assert (rows[away].error or "").startswith("no answer")
        seen = rows[stub.url].seen_at
        wait_for(lambda: gateway.rows(stub.url)[stub.url].seen_at > seen, "the next look")
        assert gateway.rows(stub.url)[stub.url].since == rows[stub.url].since
        with gateway.connect() as connection:
            publisher = store.read_publisher(connection)
            assert publisher is not None
            assert publisher.text_hash == stub.hash
            assert publisher.policy_hash == text_hash(gateway.policy_file.read_text("utf-8"))
            assert publisher.age < PROMISED
    with gateway.connect() as connection:
        assert store.read_publisher(connection) is None, "it said that it stopped"


def test_a_refused_policy_does_not_bring_a_revoked_key_back(
    gateway: Gateway, stub: StubNode, other_stub: StubNode, reconciling: Reconcile, logs: list[Any]
) -> None:
    revoked, kept = gateway.new_key(), gateway.new_key()
    policy = gateway.policy_file.read_text("utf-8")
    stub.quotes = lambda _text: f"the key {kept.secret} is not to its taste"
    with reconciling(gateway.with_nodes(stub.url, other_stub.url)):
        accepted_by_all(gateway)
        stub.refuses = of_new_policy
        gateway.revoke(revoked)
        gateway.write_policy(changed(policy))
        for node in (stub, other_stub):
            wait_for(lambda node=node: not node.has_key(revoked.secret), "revoked", PROMISED)
        wait_for(lambda: of_new_policy(other_stub.text or ""), "the new policy", PROMISED)
        wait_for(
            lambda: gateway.rows(stub.url)[stub.url].state is NodeState.FALLBACK,
            "the refusal told",
            PROMISED,
        )
        added = gateway.new_key()
        wait_for(lambda: stub.has_key(added.secret), "a key after the refusal", PROMISED)
        assert stub.has_key(kept.secret)
        assert not stub.has_key(revoked.secret)
        assert gateway.accepted() == policy, "not every node took the new one"
        assert sum(of_new_policy(text) for text in stub.posts) == 1, "a refused one is not repeated"
        error = gateway.rows(stub.url)[stub.url].error or ""
        assert "refused with 400: the key pk_live_" in error
        assert kept.secret not in error
        assert kept.secret not in json.dumps(logs)
        stub.refuses = lambda _text: False
        gateway.write_policy(changed(policy).replace("minute: 1000\n", "minute: 1001\n"))
        accepted_by_all(gateway)
    assert [e["log_level"] for e in logs if e["event"] == "node.refused"] == ["error"]


def test_changes_of_keys_go_out_while_the_file_is_broken_and_that_is_told_once(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile, logs: list[Any]
) -> None:
    policy = gateway.policy_file.read_text("utf-8")
    revoked = gateway.new_key()
    with reconciling(gateway.with_nodes(stub.url)):
        accepted_by_all(gateway)
        gateway.write_policy(changed(policy).replace("limit_by: consumer", "limit_by: consumers"))
        gateway.revoke(revoked)
        added = gateway.new_key()
        wait_for(lambda: stub.has_key(added.secret), "the new key", PROMISED)
        wait_for(lambda: not stub.has_key(revoked.secret), "the revoked key gone", PROMISED)
        wait_for(lambda: any(e["event"] == "policy.broken" for e in logs), "a report", PROMISED)
        looks = stub.looks
        wait_for(lambda: stub.looks > looks + 1, "two looks more", PROMISED)
        (report,) = [e for e in logs if e["event"] == "policy.broken"]
        assert report["log_level"] == "error"
        assert len(report["faults"]) == 4
        assert all("kong.yml:" in fault for fault in report["faults"])
        assert not any(of_new_policy(text) for text in stub.posts)
        gateway.write_policy(changed(policy))
        wait_for(lambda: of_new_policy(stub.text or ""), "the mended file", PROMISED)
        wait_for(lambda: any(e["event"] == "policy.mended" for e in logs), "mended", PROMISED)
        accepted_by_all(gateway)


def test_after_a_restart_with_a_broken_file_the_accepted_one_is_published(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile
) -> None:
    revoked = gateway.new_key()
    with reconciling(gateway.with_nodes(stub.url)):
        accepted_by_all(gateway)
    gateway.policy_file.unlink()
    gateway.revoke(revoked)
    stub.text = None  # wiped
    with reconciling(gateway.with_nodes(stub.url)):
        wait_for(lambda: stub.text is not None, "the accepted policy", PROMISED)
        assert not stub.has_key(revoked.secret)


def test_a_partner_whose_tier_the_good_file_lacks_holds_up_no_revocation(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile
) -> None:
    revoked = gateway.new_key()
    with reconciling(gateway.with_nodes(stub.url)):
        accepted_by_all(gateway)
        other = gateway.new_key("goldsmith")
        with gateway.connect() as connection:
            connection.execute("UPDATE control.partners SET tier = 'gold' WHERE name = 'goldsmith'")
        gateway.revoke(revoked)
        wait_for(lambda: not stub.has_key(revoked.secret), "the revoked key gone", PROMISED)
        wait_for(lambda: stub.has_key(other.secret), "the other at a low tier", PROMISED)
        with gateway.connect() as connection:
            publisher = store.read_publisher(connection)
        assert publisher is not None
        assert "partner goldsmith has tier gold" in (publisher.policy_error or "")


def test_nothing_is_sent_when_there_never_was_a_good_file(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile
) -> None:
    gateway.write_policy(BROKEN)
    with reconciling(gateway.with_nodes(stub.url)):
        wait_for(lambda: stub.url in gateway.rows(stub.url), "a look", PROMISED)
        assert gateway.rows(stub.url)[stub.url].state is NodeState.REFUSING
        assert stub.posts == []


def test_a_key_expires_without_anybody_doing_anything(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile
) -> None:
    key = gateway.new_key()
    with reconciling(gateway.with_nodes(stub.url)):
        wait_for(lambda: stub.has_key(key.secret), "the key", PROMISED)
        accepted_by_all(gateway)
        with gateway.connect() as connection:
            connection.execute(
                "UPDATE control.api_keys SET expires_at = clock_timestamp() + interval '0.7 s'"
            )
        began = time.monotonic()
        wait_for(lambda: not stub.has_key(key.secret), "its end", PROMISED)
        print(f"gone {time.monotonic() - began - 0.7:.2f} s after its time")
        assert time.monotonic() - began > 0.6


def test_what_somebody_else_posts_is_replaced(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile
) -> None:
    gateway.new_key()
    with reconciling(gateway.with_nodes(stub.url)):
        accepted_by_all(gateway)
        meant = stub.text
        stub.text = "something else"
        wait_for(lambda: stub.text == meant, "what was meant", PROMISED)


def test_a_node_that_hangs_holds_up_no_other_and_no_stop(
    gateway: Gateway, stub: StubNode, other_stub: StubNode, reconciling: Reconcile, logs: list[Any]
) -> None:
    first = gateway.new_key()
    with reconciling(gateway.with_nodes(stub.url, other_stub.url)):
        accepted_by_all(gateway)
        stub.may_answer.clear()
        began = time.monotonic()
        second = gateway.new_key()
        wait_for(lambda: other_stub.has_key(second.secret), "the other's key", 1.0)
        print(f"the other node: {time.monotonic() - began:.3f} s")
        wait_for(lambda: gateway.rows(stub.url)[stub.url].state is NodeState.AWAY, "away", PROMISED)
        stub.may_answer.set()
        wait_for(lambda: stub.has_key(second.secret), "the key after all", PROMISED)
        wait_for(lambda: any(e["event"] == "node.back" for e in logs), "the return", PROMISED)
        stub.may_answer.clear()
        gateway.revoke(first)
        wait_for(lambda: not other_stub.has_key(first.secret), "the other", PROMISED)
    assert [e["node"] for e in logs if e["event"] == "node.away"] == [stub.url]


def test_of_two_admins_one_posts_and_the_other_takes_over(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile
) -> None:
    gateway.new_key()
    settings = gateway.with_nodes(stub.url)
    with Child(settings) as child:
        accepted_by_all(gateway)
        with reconciling(settings) as standing_by:
            looks = stub.looks
            wait_for(lambda: stub.looks > looks + 1, "two looks more")
            key = gateway.new_key()
            wait_for(lambda: stub.has_key(key.secret), "the change", PROMISED)
            assert not standing_by.is_leader
            assert len(stub.posts) == 2, "one for each change"
            child.kill()
            began = time.monotonic()
            key = gateway.new_key()
            wait_for(lambda: stub.has_key(key.secret), "the second admin", PROMISED)
            print(f"taken over in {time.monotonic() - began:.2f} s")
            assert standing_by.is_leader
            assert len(stub.posts) == 3


def test_an_admin_killed_between_two_nodes_leaves_nothing_half_done(
    gateway: Gateway, stub: StubNode, other_stub: StubNode
) -> None:
    revoked = gateway.new_key()
    settings = gateway.with_nodes(stub.url, other_stub.url)
    with Child(settings) as child:
        accepted_by_all(gateway)
        stub.may_answer.clear()
        gateway.revoke(revoked)
        wait_for(lambda: not other_stub.has_key(revoked.secret), "one of two", PROMISED)
        child.kill()
    assert stub.has_key(revoked.secret), "it was killed between the two"
    with Child(settings):
        stub.may_answer.set()
        began = time.monotonic()
        wait_for(lambda: not stub.has_key(revoked.secret), "both", PROMISED)
        wait_for(lambda: stub.hash == other_stub.hash, "the same on both", PROMISED)
        print(f"consistent in {time.monotonic() - began:.2f} s, with the start of a process")


def test_an_admin_that_lost_its_database_connection_begins_again(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile
) -> None:
    gateway.new_key()
    with reconciling(gateway.with_nodes(stub.url)) as reconciler:
        accepted_by_all(gateway)
        with gateway.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'admin publisher' AND datname = current_database()"
            )
        key = gateway.new_key()
        wait_for(lambda: stub.has_key(key.secret), "the change", PROMISED)
        assert reconciler.is_leader


PROGRAM = """
import os, signal, time
import msgspec
from services.admin.gateway.reconciler import Reconciler
from services.admin.settings import AdminSettings
from services.core.encryption import SecretBox

settings = msgspec.json.decode(os.environ["SETTINGS"], type=AdminSettings)
reconciler = Reconciler(
    settings, SecretBox(settings.master_keys), name="a child", clock=time.monotonic
)
reconciler.start()
signal.pause()
"""


class Child:
    """A reconciler in a process of its own, which ends with the test's at the latest."""

    def __init__(self, settings: AdminSettings) -> None:
        folder = Path(settings.gateway_policy).parent
        self._process = start(
            [sys.executable, "-c", PROGRAM],
            log=folder / "child.log",
            folder=folder,
            environment={"SETTINGS": msgspec.json.encode(settings).decode()},
        )

    def __enter__(self) -> Self:
        """Use it for the length of a with block."""
        return self

    def kill(self) -> None:
        """End it without a word."""
        self._process.kill()
        self._process.wait()

    def __exit__(self, *_: object) -> None:
        """End it if it has not ended."""
        self.kill()
