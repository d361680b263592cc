"""A change published by a command: by itself, or by the admin service if one runs."""

import threading
import time

import msgspec

from services.admin.gateway import store
from services.admin.gateway.publish import NodeState
from services.admin.gateway.publisher import Published, publish_change
from services.admin.settings import AdminSettings
from services.core.encryption import SecretBox
from services.local.children import free_port
from tests.integration.admin.gateway.conftest import Gateway, Reconcile
from tests.integration.admin.gateway.stub_nodes import StubNode
from tools.waiting import wait_for


def publish(gateway: Gateway, settings: AdminSettings, **options: float) -> Published:
    with gateway.connect() as connection:
        return publish_change(connection, settings, SecretBox(settings.master_keys), **options)


def test_without_nodes_there_is_nothing_to_do(gateway: Gateway) -> None:
    assert publish(gateway, gateway.settings) == Published(nodes=[])


def test_without_a_service_a_command_publishes_itself(
    gateway: Gateway, stub: StubNode, other_stub: StubNode
) -> None:
    key = gateway.new_key()
    settings = gateway.with_nodes(stub.url, other_stub.url)
    published = publish(gateway, settings)
    assert published.is_complete
    assert [(n.url, n.state) for n in published.nodes] == [
        (stub.url, NodeState.CURRENT),
        (other_stub.url, NodeState.CURRENT),
    ]
    assert stub.has_key(key.secret)
    assert other_stub.has_key(key.secret)
    assert gateway.accepted() == gateway.policy_file.read_text("utf-8")
    assert set(gateway.rows(stub.url, other_stub.url)) == {stub.url, other_stub.url}
    assert publish(gateway, settings).is_complete
    assert len(stub.posts) == 1, "what it runs already is not sent again"


def test_a_command_tells_of_each_node_what_it_does(
    gateway: Gateway, stub: StubNode, other_stub: StubNode
) -> None:
    gateway.new_key()
    stub.refuses = lambda _text: True
    away = f"http://127.0.0.1:{free_port()}"
    published = publish(gateway, gateway.with_nodes(away, stub.url, other_stub.url))
    assert [node.state for node in published.nodes] == ["away", "refusing", "current"]
    assert not published.is_complete
    assert gateway.accepted() is None


def test_a_node_that_hangs_holds_up_no_other(
    gateway: Gateway, stub: StubNode, other_stub: StubNode
) -> None:
    key = gateway.new_key()
    stub.may_answer.clear()
    settings = gateway.with_nodes(stub.url, other_stub.url)
    publishing = threading.Thread(target=publish, args=(gateway, settings))
    publishing.start()
    wait_for(lambda: other_stub.has_key(key.secret), "the other node's", 2.0)
    stub.may_answer.set()
    publishing.join(10)


def test_a_command_publishes_changes_of_keys_while_the_file_is_broken_and_says_so(
    gateway: Gateway, stub: StubNode
) -> None:
    settings = gateway.with_nodes(stub.url)
    revoked = gateway.new_key()
    assert publish(gateway, settings).is_complete
    gateway.write_policy("services: [\n")
    gateway.revoke(revoked)
    published = publish(gateway, settings)
    assert "kong.yml:2: this is not YAML" in (published.policy_error or "")
    assert not published.nothing_sent
    assert published.nodes[0].state is NodeState.CURRENT
    assert not stub.has_key(revoked.secret)


def test_without_any_good_file_nothing_is_sent(gateway: Gateway, stub: StubNode) -> None:
    gateway.policy_file.unlink()
    published = publish(gateway, gateway.with_nodes(stub.url))
    assert published.nothing_sent
    assert "kong.yml can't be read" in (published.policy_error or "")
    assert stub.posts == []


def test_a_running_service_publishes_for_the_command(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile
) -> None:
    settings = gateway.with_nodes(stub.url)
    with reconciling(settings) as service:
        wait_for(lambda: service.is_leader, "the service in charge")
        for _ in range(5):
            key = gateway.new_key()
            began = time.monotonic()
            published = publish(gateway, settings)
            print(f"waited {time.monotonic() - began:.3f} s")
            assert published.is_complete
            assert published.note is None
            assert published.nodes[0].hash == stub.hash
            assert stub.has_key(key.secret), "it waited until the change was there"
        assert len(stub.posts) <= 6


def test_a_command_waits_for_a_changed_file_too(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile
) -> None:
    settings = gateway.with_nodes(stub.url)
    policy = gateway.policy_file.read_text("utf-8")
    gateway.new_key()
    with reconciling(settings) as service:
        wait_for(lambda: service.is_leader, "the service in charge")
        for minute in (301, 302):
            gateway.write_policy(policy.replace("minute: 300", f"minute: {minute}"))
            assert publish(gateway, settings).is_complete
            assert f'"minute":{minute}' in (stub.text or "")


def test_a_command_tells_what_the_service_sees(
    gateway: Gateway, stub: StubNode, other_stub: StubNode, reconciling: Reconcile
) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    settings = gateway.with_nodes(stub.url, away, other_stub.url)
    other_stub.refuses = lambda _text: True
    with reconciling(settings) as service:
        wait_for(lambda: service.is_leader, "the service in charge")
        gateway.new_key()
        published = publish(
            gateway, gateway.with_nodes(*settings.nodes, "http://unknown"), within=2
        )
        assert [n.state for n in published.nodes] == ["current", "away", "refusing", "away"]
        assert "does not know this node" in (published.nodes[3].error or "")


def test_a_command_with_another_file_than_the_services_is_told(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile
) -> None:
    settings = gateway.with_nodes(stub.url)
    other = gateway.policy_file.with_name("mine.yml")
    other.write_text(gateway.policy_file.read_text("utf-8") + "# mine\n", "utf-8")
    mine = msgspec.structs.replace(settings, gateway_policy=str(other))
    with reconciling(settings) as service:
        wait_for(lambda: service.is_leader, "the service in charge")
        gateway.new_key()
        published = publish(gateway, mine)
        assert published.is_complete
        assert "publishes another kong.yml than" in (published.note or "")


def test_a_command_takes_over_when_the_publisher_goes(gateway: Gateway, stub: StubNode) -> None:
    key = gateway.new_key()
    with gateway.connect() as holder:
        assert store.try_lock(holder)
        publishing = threading.Thread(target=publish, args=(gateway, gateway.with_nodes(stub.url)))
        publishing.start()
        assert stub.posts == []
    publishing.join(10)
    assert stub.has_key(key.secret)
