"""Configurations: what is taken, what is refused and how that is told, and change under load."""

import copy
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.envelope import assert_own_error
from tests.gateway.policy import KONG_YML, LIVE_KEY, Places, own_address, own_path, service
from tests.gateway.recording_service import Recorded, RecordingService, hangs
from tools.gateway_node import BACKEND_TOKEN, Document, Node, embedded_node
from tools.waiting import wait_for
from tools.wire import Wire, request

Publish = Callable[[Document | str], None]


def md5(text: str) -> str:
    """Return what a node should call a text."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def small(url: str) -> Document:
    """Return a configuration with one open route."""
    return {"_format_version": "3.0", "services": [service("one", url, "/one")]}


def test_a_configuration_replaces_all_of_the_one_before(
    node: Node, publish: Publish, places: Places
) -> None:
    assert node.ask("GET", "/open").status == 200
    publish(small(places.service))
    assert node.ask("GET", "/one").status == 200
    assert node.ask("GET", "/open").status == 404


def test_the_status_names_the_text_that_runs(node: Node, publish: Publish, places: Places) -> None:
    text = json.dumps(small(places.service), indent=3)
    assert node.post(text).status_code == 201
    assert node.status()["configuration_hash"] == md5(text)
    assert node.readiness() == 200


def test_the_same_text_again_is_not_modified(node: Node, publish: Publish, places: Places) -> None:
    text = json.dumps(small(places.service))
    publish(text)
    assert node.post(text, "?check_hash=1").status_code == 304
    assert node.post(text + " ", "?check_hash=1").status_code == 201


def test_yaml_is_taken_as_json_is(node: Node, publish: Publish, places: Places) -> None:
    publish(f"""
_format_version: "3.0"
_ignore:
- &service {{url: {places.service}, retries: 0}}
services:
- name: one
  <<: *service
  routes: [{{name: one, paths: [/one], strip_path: false}}]
""")
    assert node.ask("GET", "/one").status == 200


def test_kong_yml_is_taken_as_it_stands(node: Node, publish: Publish) -> None:
    publish(KONG_YML.read_text("utf-8"))


def test_without_our_plugins_errors_are_kong_s_own(
    node: Node, publish: Publish, places: Places
) -> None:
    publish(small(places.service))
    answer = node.ask("GET", "/unknown")
    assert answer.status == 404
    assert answer.json["message"] == "no Route matched with those values"
    assert answer.json["request_id"] == answer.header("X-Kong-Request-Id")


def broken(policy: Document, change: Callable[[Document], Any]) -> Document:
    """Return the policy with one change."""
    document = copy.deepcopy(policy)
    change(document)
    return document


def by_name(document: Document, kind: str, name: str) -> Document:
    """Return the entity of a name."""
    return next(each for each in document[kind] if name in (each.get("name"), each.get("username")))


def service_plugin(document: Document, plugin: str) -> Document:
    """Return a plugin of query-live."""
    plugins = by_name(document, "services", "query-live")["plugins"]
    return next(each for each in plugins if each["name"] == plugin)


def consumer(document: Document) -> Document:
    """Return a partner's consumer."""
    return by_name(document, "consumers", "techmart")


# A change to the policy -> the entity type and the field that the refusal must name.
BROKEN: dict[str, tuple[Callable[[Document], Any], str, str]] = {
    "unknown plugin": (
        lambda d: d["plugins"].append({"name": "no-such-plugin"}),
        "plugin",
        "name",
    ),
    "unknown field of a plugin": (
        lambda d: service_plugin(d, "acl")["config"].update(alow=["x"]),
        "plugin",
        "config.alow",
    ),
    "wrong type in a plugin": (
        lambda d: consumer(d)["plugins"][0]["config"].update(minute="many"),
        "plugin",
        "config.minute",
    ),
    "unknown field of a nested record": (
        lambda d: consumer(d)["plugins"][0]["config"]["redis"].update(hots="x"),
        "plugin",
        "config.redis.hots",
    ),
    "out of range": (
        lambda d: by_name(d, "services", "open").update(retries=99999),
        "service",
        "retries",
    ),
    "unknown field of a service": (
        lambda d: by_name(d, "services", "open").update(retrys=1),
        "service",
        "retrys",
    ),
    "consumer group": (
        lambda d: consumer(d).update(groups=[{"name": "premium"}]),
        "consumer",
        "groups",
    ),
    "bad regex": (
        lambda d: by_name(d, "services", "open")["routes"][0].update(paths=["~/a["]),
        "route",
        "paths.1",
    ),
    "path without a slash": (
        lambda d: by_name(d, "services", "open")["routes"][0].update(paths=["open"]),
        "route",
        "paths.1",
    ),
    "no key": (
        lambda d: consumer(d)["keyauth_credentials"].append({}),
        "keyauth_credential",
        "key",
    ),
    "bad id": (lambda d: consumer(d).update(id="7"), "consumer", "id"),
}


@pytest.mark.parametrize(("change", "entity", "field"), BROKEN.values(), ids=BROKEN.keys())
def test_a_fault_is_refused_and_named_and_the_old_configuration_stays(
    node: Node, policy: Document, change: Callable[[Document], Any], entity: str, field: str
) -> None:
    before = node.status()["configuration_hash"]
    refused = node.post(json.dumps(broken(policy, change)), "?flatten_errors=1")
    assert refused.status_code == 400
    told = refused.json()
    assert told["name"] == "invalid declarative configuration"
    assert told["code"] == 14
    found = [
        (each["entity_type"], error.get("field"))
        for each in told["flattened_errors"]
        for error in each["errors"]
    ]
    assert (entity, field) in found
    assert node.status()["configuration_hash"] == before
    assert node.ask("GET", "/open").status == 200


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "error"),
        ("[]", "error"),
        ("a: [b", "error"),
        ("", "error"),
        ('{"_format_version": "3.0", "servces": []}', "servces"),
        ('{"services": []}', "_format_version"),
        ('{"_format_version": "9"}', "_format_version"),
        ('{"_format_version": "3.0", "services": {}}', "services"),
    ],
)
def test_a_text_that_is_no_configuration_is_refused(node: Node, text: str, word: str) -> None:
    before = node.status()["configuration_hash"]
    refused = node.post(text)
    assert refused.status_code == 400
    assert word in refused.text
    assert node.status()["configuration_hash"] == before


# What Kong takes and then stumbles over, or tells in a way nobody can read (KONG.md).
DANGLING: dict[str, tuple[Callable[[Document], Any], str]] = {
    "anonymous": (
        lambda d: service_plugin(d, "key-auth")["config"].update(anonymous="nobody"),
        "nobody",
    ),
    "a plugin's consumer": (
        lambda d: d["plugins"].append({"name": "error-envelope", "consumer": "ghost"}),
        "ghost",
    ),
    "a plugin's route": (
        lambda d: d["plugins"].append({"name": "error-envelope", "route": "rout"}),
        "rout",
    ),
    "a variable": (
        lambda d: d["plugins"][2]["config"].update(token="{vault://env/not-set-here}"),
        "NOT_SET_HERE",
    ),
    "a service's name": (
        lambda d: d["services"].append(service("open", "http://x", "/x")),
        "already declared",
    ),
    "a username": (lambda d: d["consumers"].append({"username": "techmart"}), "techmart"),
    "a custom id": (
        lambda d: d["consumers"].append({"username": "x", "custom_id": "techmart:live"}),
        "techmart:live",
    ),
    "an id": (
        lambda d: d["consumers"].append({"username": "x", "id": consumer(d)["id"]}),
        "id set to",
    ),
    "a plugin": (
        lambda d: by_name(d, "services", "query-live")["plugins"].append(
            {"name": "key-auth", "config": {"key_names": ["X-API-Key"], "key_in_query": False}}
        ),
        "key-auth",
    ),
    "a field that it does not run": (
        lambda d: by_name(d, "services", "open")["routes"][0].update(preserve_host=True),
        "must be false in the embedded gateway",
    ),
    "another policy of counting": (
        lambda d: consumer(d)["plugins"][0]["config"].update(policy="local"),
        "redis",
    ),
    "an empty field that Kong does not have": (lambda d: consumer(d).update(groups=None), "groups"),
    "no time to count": (
        lambda d: consumer(d)["plugins"][0]["config"]["redis"].update(timeout=0),
        "must be above 0 in the embedded gateway",
    ),
    "tls": (lambda d: by_name(d, "services", "open").update(url="https://x"), "http://"),
}


@pytest.mark.parametrize(("change", "word"), DANGLING.values(), ids=DANGLING.keys())
def test_the_embedded_gateway_refuses_what_it_could_not_serve(
    embedded_only: None,
    node: Node,
    policy: Document,
    change: Callable[[Document], Any],
    word: str,
) -> None:
    """Kong knows more than this stand-in does, and finds some faults only at run time."""
    refused = node.post(json.dumps(broken(policy, change)), "?flatten_errors=1")
    assert refused.status_code == 400
    assert word in json.dumps(refused.json()["flattened_errors"])


def test_a_key_that_two_partners_have_is_refused_and_not_told(node: Node, policy: Document) -> None:
    secret = "pk_live_a_secret_that_nobody_may_read"
    extra = [{"username": name, "keyauth_credentials": [{"key": secret}]} for name in "xy"]
    refused = node.post(json.dumps(policy | {"consumers": policy["consumers"] + extra}))
    assert refused.status_code == 400
    assert secret not in refused.text or node.process is None


def test_all_faults_of_a_file_are_told_at_once(
    embedded_only: None, node: Node, policy: Document
) -> None:
    def change(document: Document) -> None:
        for change_one, _, _ in list(BROKEN.values())[:6]:
            change_one(document)

    refused = node.post(json.dumps(broken(policy, change)), "?flatten_errors=1")
    errors = [error for each in refused.json()["flattened_errors"] for error in each["errors"]]
    assert len(errors) == 6


def test_faults_stand_where_their_entity_stands(
    embedded_only: None, node: Node, policy: Document
) -> None:
    document = broken(policy, lambda d: d["services"][1]["plugins"][1]["config"].update(x=1))
    told = node.post(json.dumps(document)).json()
    assert told["fields"]["services"][0] is None
    assert told["fields"]["services"][1]["plugins"][1] == {"config.x": "unknown field"}
    assert "config.x" in told["message"]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"config": 7}', b"no json"])
def test_a_post_without_a_text_is_refused(embedded_only: None, node: Node, body: bytes) -> None:
    """Kong takes a whole document as the body too; its hash is then another (KONG.md)."""
    assert httpx.post(f"{node.admin_url}/config", content=body).status_code == 400


def test_entities_cannot_be_written_one_by_one(node: Node) -> None:
    answer = httpx.post(f"{node.admin_url}/consumers", json={"username": "x"})
    assert answer.status_code == 405
    assert "when not using a database" in answer.json()["message"]


def test_the_admin_api_is_not_on_the_proxy_s_port(node: Node) -> None:
    for path in ("/config", "/status"):
        assert node.ask("GET", path).status == 404


def test_no_request_fails_while_configurations_change(
    node: Node, publish: Publish, policy: Document
) -> None:
    statuses: list[int] = []
    done = threading.Event()

    def ask() -> None:
        with node.wire() as wire:
            while not done.is_set():
                wire.send(request("POST", own_path(), ("X-API-Key", LIVE_KEY), body=b"{}"))
                statuses.append(wire.answer().status)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(20):
        publish(policy | {"_ignore": [number]})
    done.set()
    for thread in threads:
        thread.join()
    assert len(statuses) > 50
    assert set(statuses) == {200}


def test_a_request_keeps_the_configuration_it_began_with(
    node: Node, publish: Publish, places: Places
) -> None:
    with node.wire() as wire:
        data = request("POST", own_path(), ("X-API-Key", LIVE_KEY), body=b"late")
        wire.send(data[:-1])
        assert node.ask("GET", "/open").status == 200  # so that the first one has been read
        publish(small(places.service))
        wire.send(data[-1:])
        assert wire.answer().status == 200


def test_a_revoked_key_is_refused_once_the_publish_is_confirmed(
    node: Node, publish: Publish, policy: Document
) -> None:
    extra = [
        {
            "username": "leaver",
            "acls": [{"group": "live"}],
            "keyauth_credentials": [{"key": "leaver-key"}],
        }
    ]
    key = ("X-API-Key", "leaver-key")
    publish(policy | {"consumers": policy["consumers"] + extra})
    with node.wire(own_address()) as wire:
        wire.send(request("GET", own_path(), key))
        assert wire.answer().status == 200
        publish(policy)
        wire.send(request("GET", own_path(), key))
        assert_own_error(wire.answer(), 401, "UNAUTHORIZED", "Unknown API key")


def test_a_new_node_has_no_route_and_is_not_ready(
    embedded_only: None, tmp_path: Path, places: Places
) -> None:
    with embedded_node(tmp_path) as fresh:
        answer = fresh.ask("GET", "/one")
        assert answer.status == 404
        assert answer.json["message"] == "no Route matched with those values"
        assert fresh.readiness() == 503
        assert fresh.status()["configuration_hash"] == "0" * 32
        fresh.publish(small(places.service))
        assert fresh.readiness() == 200


def test_a_node_serves_its_last_configuration_again_after_a_restart(
    embedded_only: None, tmp_path: Path, places: Places
) -> None:
    text = json.dumps(small(places.service))
    with embedded_node(tmp_path) as first:
        first.publish(text)
        assert first.post("{}").status_code == 400
    with embedded_node(tmp_path) as again:
        assert again.readiness() == 200
        assert again.status()["configuration_hash"] == md5(text)
        assert again.ask("GET", "/one").status == 200


def test_the_kept_configuration_is_its_owner_s_alone(
    embedded_only: None, node: Node, folder: Path
) -> None:
    prefix = folder / "node" / "prefix"
    assert prefix.stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in prefix.iterdir()] == [0o600]


def test_a_node_that_is_told_to_end_finishes_what_it_began(
    embedded_only: None, tmp_path: Path, places: Places
) -> None:
    recording = RecordingService()
    go_on = threading.Event()

    def late(connection: socket.socket, recorded: Recorded) -> bool:
        assert go_on.wait(10)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return True

    path = own_path("/one")
    recording.behave(path, late)
    with embedded_node(tmp_path) as ending:
        ending.publish(small(f"http://127.0.0.1:{recording.port}"))
        with ending.wire() as idle, ending.wire() as busy:
            busy.send(request("GET", path))
            recording.received(path)
            assert ending.process is not None
            ending.process.terminate()
            assert idle.rest() == b""
            with pytest.raises(OSError, match="refused"):
                Wire(ending.host, ending.port)
            go_on.set()
            assert busy.answer().body == b"ok"
        assert ending.process.wait(10) == 0
    recording.close()


def test_a_service_may_answer_before_it_has_all_of_a_large_body(
    embedded_only: None, tmp_path: Path
) -> None:
    """Kong sends a body on only when it has all of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener, embedded_node(tmp_path) as early:
        early.publish(small(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        with early.wire() as wire:
            wire.send(request("POST", "/one", ("Content-Length", "10000000")) + b"x" * 1_500_000)
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")
                assert wire.answer().body == b"early"


def test_a_setting_that_is_missing_is_named(embedded_only: None, tmp_path: Path) -> None:
    wrong = embedded_node(tmp_path, environment={"GATEWAY_ADMIN_PORT": "many"})
    with pytest.raises(AssertionError, match="the gateway ended"), wrong:
        pass
    assert "GATEWAY_ADMIN_PORT" in (tmp_path / "gateway.log").read_text()


def test_a_refusal_is_found_in_the_log_by_its_request_id_and_no_secret_is(
    embedded_only: None, node: Node, folder: Path, service: RecordingService
) -> None:
    path = own_path("/impatient")
    service.behave(path, hangs)
    key = ("X-API-Key", LIVE_KEY)
    node.ask("GET", path, key, ("X-Request-ID", "logged-1"))
    node.ask("GET", "/unknown", key, ("X-Request-ID", "logged-2"))
    log = folder / "node" / "gateway.log"
    wait_for(
        lambda: {"logged-1", "logged-2"} <= set(re.findall(r"logged-\d", log.read_text())), log
    )
    for secret in (LIVE_KEY, BACKEND_TOKEN):
        assert secret not in log.read_text()
