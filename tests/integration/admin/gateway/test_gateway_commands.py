"""`partnerapi gateway publish`, `status`, `render` and `diff`: what they print and exit with."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from services.admin.gateway import store
from services.admin.gateway.status import read_status
from services.local.children import free_port
from tests.admin_process import AdminProcess, CommandLine, running_admin
from tests.integration.admin.gateway.conftest import Gateway
from tests.integration.admin.gateway.real_nodes import RealNode
from tests.integration.admin.gateway.stub_nodes import StubNode
from tools.waiting import wait_for

StartAdmin = Callable[..., AdminProcess]


@pytest.fixture
def admin_of(gateway: Gateway, tmp_path: Path) -> Iterator[StartAdmin]:
    """Start an admin that has these nodes."""
    names = ("admin_database_url", "master_keys", "gateway_policy")
    more = ("gateway_upstreams", "gateway_counters_url")
    with ExitStack() as running:

        def start(*nodes: str) -> AdminProcess:
            given = {name.upper(): str(getattr(gateway.settings, name)) for name in names + more}
            settings = {**given, "KONG_ADMIN_URLS": ",".join(nodes)}
            return running.enter_context(running_admin(tmp_path, settings))

        yield start


def test_diff_tells_what_a_file_would_change(
    gateway: Gateway, nodes: list[RealNode], admin_of: StartAdmin, tmp_path: Path
) -> None:
    keys = [gateway.new_key(), gateway.new_key("acme")]
    run = admin_of(*(node.url for node in nodes)).run
    published = run("gateway publish")
    assert published.exit_code == 0, published.output
    same = run("gateway diff")
    assert (same.exit_code, same.output) == (0, "nothing would change\n")
    mine = tmp_path / "mine.yml"
    policy = gateway.policy_file.read_text("utf-8")
    mine.write_text(policy.replace("minute: 300", "minute: 600"), "utf-8")
    before = nodes[0].hash()
    second = run("gateway", "diff", str(mine))
    assert second.exit_code == 1
    assert "~ tier standard: minute 300 -> 600 (2 consumers: acme, techmart)" in second.stdout
    assert len(second.stdout.splitlines()) == 2
    as_json = run("gateway", "diff", str(mine), "--json")
    (group,) = json.loads(as_json.stdout)["groups"]
    (change,) = group["changes"]
    assert (change["field"], change["old"], change["new"]) == ("config.minute", "300", "600")
    for key in keys:
        assert key.secret not in second.output + as_json.output
    assert nodes[0].ask(keys[0].secret) == 200
    assert [node.hash() for node in nodes] == [before, before], "diff changes nothing"


def test_diff_of_a_broken_file_tells_its_faults(
    stub: StubNode, admin_of: StartAdmin, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.yml"
    mine.write_text("services: 5\n", "utf-8")
    run = admin_of(stub.url).run
    result = run("gateway", "diff", str(mine))
    assert result.exit_code == 2
    assert f"{mine}:1: " in result.stderr
    mine.write_bytes(b"\xff")
    assert run("gateway", "diff", str(mine)).exit_code == 2


def test_publish_diff_and_status_tell_by_node(
    gateway: Gateway, stub: StubNode, admin_of: StartAdmin
) -> None:
    gateway.new_key()
    away = f"http://127.0.0.1:{free_port()}"
    run = admin_of(stub.url, away).run
    result = run("gateway publish")
    assert result.exit_code == 3
    assert f"{stub.url}  runs {stub.hash}" in result.stderr
    assert f"{away}  away: no answer" in result.stderr
    nodes = json.loads(run("gateway publish --json").stdout)["nodes"]
    assert [node["state"] for node in nodes] == ["current", "away"]
    diff = run("gateway diff")
    assert (diff.exit_code, "no answer" in diff.stderr) == (3, True)
    status = run("gateway status")
    assert status.exit_code == 3
    assert "away" in status.stdout


def test_publish_of_a_broken_file_tells_its_faults_and_what_was_sent(
    gateway: Gateway, stub: StubNode, admin_of: StartAdmin
) -> None:
    run = admin_of(stub.url).run
    assert run("gateway publish").exit_code == 0
    gateway.write_policy("services: 5\n")
    key = gateway.new_key()
    result = run("gateway publish")
    assert result.exit_code == 1
    assert "the last good one with the keys of now" in result.stderr
    assert "kong.yml:1: " in result.stderr
    assert stub.has_key(key.secret)
    assert run("gateway render").exit_code == 1


def test_without_nodes_each_command_says_so(shared_run: CommandLine) -> None:
    for command in ("publish", "status", "diff"):
        result = shared_run(f"gateway {command}")
        assert result.exit_code == 3, command
        assert "KONG_ADMIN_URLS names no node" in result.stderr


def test_status_tells_what_the_reconciler_saw(
    gateway: Gateway, stub: StubNode, admin_of: StartAdmin
) -> None:
    run = admin_of(stub.url).run
    wait_for(lambda: run("gateway status").exit_code == 0, "all current", 5)
    assert "published by " in run("gateway status").stdout
    found = json.loads(run("gateway status --json").stdout)
    assert found["current"] is True
    (node,) = found["nodes"]
    assert (node["state"], node["hash"]) == ("current", stub.hash)
    gateway.write_policy("services: 5\n")
    wait_for(lambda: run("gateway status").exit_code == 3, "the broken file", 5)
    assert "kong.yml:1: " in run("gateway status").stderr


def test_a_reconciler_that_was_killed_is_not_taken_to_run(gateway: Gateway) -> None:
    with gateway.connect() as connection:
        connection.execute(
            "INSERT INTO control.gateway_publisher (name, seen_at, revision)"
            " VALUES ('killed', now() - interval '1 minute', 0)"
        )
        assert store.read_publisher(connection) is not None
        assert read_status(connection, gateway.settings).publisher is None
