"""A change waits for its publish, and says of each node what it runs."""

import asyncio
import time

import msgspec

from services.admin.gateway.node_sync import NodeState
from services.admin.gateway.publish_wait import Published, await_publish
from services.admin.settings import AdminSettings
from services.local.children import free_port
from tests.integration.admin.gateway.conftest import Gateway, Reconcile
from tests.integration.admin.gateway.stub_nodes import StubNode
from tools.waiting import wait_for


def published_by(gateway: Gateway, settings: AdminSettings, within: float = 6.0) -> Published:
    return asyncio.run(await_publish(gateway.connect, settings, within=within))


def test_without_nodes_there_is_nothing_to_do(gateway: Gateway) -> None:
    assert published_by(gateway, gateway.settings) == Published(nodes=[])


def test_without_a_reconciler_nothing_is_sent_and_no_node_is_said_to_run_it(
    gateway: Gateway, stub: StubNode
) -> None:
    gateway.new_key()
    published = published_by(gateway, gateway.with_nodes(stub.url), within=0.2)
    assert not published.is_complete
    assert stub.posts == []


def test_the_reconcilers_reports_are_those_of_each_node(
    gateway: Gateway, stub: StubNode, other_stub: StubNode, reconciling: Reconcile
) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    settings = gateway.with_nodes(stub.url, away, other_stub.url)
    other_stub.refuses = lambda _text: True
    gateway.new_key()
    with reconciling(settings):
        with_unknown = gateway.with_nodes(*settings.nodes, "http://unknown")
        published = published_by(gateway, with_unknown, within=2)
    assert [n.state for n in published.nodes] == ["current", "away", "refusing", "away"]
    assert "does not know this node" in (published.nodes[3].error or "")
    assert gateway.accepted() is None


def test_a_broken_file_is_told_while_changes_of_keys_go_out(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile
) -> None:
    settings = gateway.with_nodes(stub.url)
    revoked = gateway.new_key()
    with reconciling(settings):
        assert published_by(gateway, settings).is_complete
        gateway.write_policy("services: [\n")
        gateway.revoke(revoked)
        published = published_by(gateway, settings)
    assert "kong.yml:2: this is not YAML" in (published.policy_error or "")
    assert not published.nothing_sent
    assert published.nodes[0].state is NodeState.CURRENT
    assert not stub.has_key(revoked.secret)


def test_without_any_good_file_nothing_is_sent(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile
) -> None:
    gateway.policy_file.unlink()
    settings = gateway.with_nodes(stub.url)
    with reconciling(settings):
        published = published_by(gateway, settings)
    assert published.nothing_sent
    assert "kong.yml can't be read" in (published.policy_error or "")
    assert stub.posts == []


def test_a_change_waits_until_it_is_there(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile
) -> None:
    settings = gateway.with_nodes(stub.url)
    with reconciling(settings) as service:
        wait_for(lambda: service.is_leader, "the reconciler")
        for _ in range(5):
            key = gateway.new_key()
            began = time.monotonic()
            published = published_by(gateway, settings)
            print(f"waited {time.monotonic() - began:.3f} s")
            assert published.is_complete
            assert published.note is None
            assert published.nodes[0].hash == stub.hash
            assert stub.has_key(key.secret), "it waited until the change was there"
        assert len(stub.posts) <= 6
    assert gateway.accepted() == gateway.policy_file.read_text("utf-8")


def test_a_changed_file_is_waited_for_too(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile
) -> None:
    settings = gateway.with_nodes(stub.url)
    policy = gateway.policy_file.read_text("utf-8")
    gateway.new_key()
    with reconciling(settings) as service:
        wait_for(lambda: service.is_leader, "the reconciler")
        for minute in (301, 302):
            gateway.write_policy(policy.replace("minute: 300", f"minute: {minute}"))
            assert published_by(gateway, settings).is_complete
            assert f'"minute":{minute}' in (stub.text or "")


def test_a_node_that_has_not_taken_a_changed_file_is_not_said_to_run_it(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile
) -> None:
    settings = gateway.with_nodes(stub.url)
    gateway.new_key()
    with reconciling(settings):
        assert published_by(gateway, settings).is_complete
        stub.may_answer.clear()
        policy = gateway.policy_file.read_text("utf-8")
        gateway.write_policy(policy.replace("minute: 300", "minute: 301"))
        published = published_by(gateway, settings, within=0.2)
        stub.may_answer.set()
    [node] = published.nodes
    assert node.state is NodeState.CURRENT
    assert "does not run the kong.yml of now yet" in (node.error or "")


def test_an_admin_with_another_file_than_the_reconcilers_is_told(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile
) -> None:
    settings = gateway.with_nodes(stub.url)
    other = gateway.policy_file.with_name("mine.yml")
    other.write_text(gateway.policy_file.read_text("utf-8") + "# mine\n", "utf-8")
    mine = msgspec.structs.replace(settings, gateway_policy=str(other))
    with reconciling(settings) as service:
        wait_for(lambda: service.is_leader, "the reconciler")
        gateway.new_key()
        published = published_by(gateway, mine)
        assert published.is_complete
        assert "publishes another kong.yml than" in (published.note or "")
