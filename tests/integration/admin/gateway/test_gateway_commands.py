"""`partnerapi gateway publish`, `status` and `diff`: what they print and exit with."""

import json
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner, Result

from services.admin.gateway import store
from services.admin.settings import AdminSettings
from services.cli.nodes import diff, publish, status
from services.local.children import free_port
from tests.integration.admin.gateway.conftest import Gateway, Reconcile
from tests.integration.admin.gateway.real_nodes import RealNode
from tests.integration.admin.gateway.stub_nodes import StubNode
from tools.waiting import wait_for

Run = Callable[..., Result]


@pytest.fixture
def run(gateway: Gateway) -> Run:
    """Run a command of the group with an environment that has these nodes."""

    def invoke(command: click.Command, settings: AdminSettings, *arguments: str) -> Result:
        names = ("admin_database_url", "master_keys", "kong_admin_urls", "gateway_policy")
        more = ("gateway_upstreams", "gateway_counters_url")
        environment = {name.upper(): getattr(settings, name) for name in names + more}
        return CliRunner().invoke(command, arguments, obj=lambda: environment)

    return invoke


def test_diff_tells_what_publish_then_does(
    gateway: Gateway, nodes: list[RealNode], run: Run
) -> None:
    keys = [gateway.new_key(), gateway.new_key(), gateway.new_key("acme")]
    settings = gateway.with_nodes(*(node.url for node in nodes))
    first = run(diff, settings)
    assert first.exit_code == 1
    assert "+ consumer techmart" in first.stdout
    assert f"{nodes[0].url}, {nodes[1].url}  runs 000" in first.stdout
    assert run(publish, settings).exit_code == 0
    assert run(diff, settings).exit_code == 0
    assert run(diff, settings).output == "nothing would change\n"
    policy = gateway.policy_file.read_text("utf-8")
    gateway.write_policy(policy.replace("minute: 300", "minute: 600"))
    second = run(diff, settings)
    assert second.exit_code == 1
    assert "~ tier standard: minute 300 -> 600 (2 consumers: acme, techmart)" in second.stdout
    assert len(second.stdout.splitlines()) == 2
    as_json = run(diff, settings, "--json")
    (group,) = json.loads(as_json.stdout)["groups"]
    (change,) = group["changes"]
    assert (change["field"], change["old"], change["new"]) == ("config.minute", "300", "600")
    gateway.revoke(keys[0])
    third = run(diff, settings)
    assert f"- key {keys[0].shown}... of consumer techmart" in third.stdout
    for key in keys:
        assert key.secret not in first.output + second.output + third.output + as_json.output
    assert nodes[0].ask(keys[0].secret) == 200, "diff changes nothing"


def test_diff_of_a_broken_file_tells_its_faults(gateway: Gateway, stub: StubNode, run: Run) -> None:
    gateway.write_policy("services: 5\n")
    result = run(diff, gateway.with_nodes(stub.url))
    assert result.exit_code == 2
    assert "kong.yml:1: " in result.stderr


def test_diff_tells_of_nodes_that_do_not_answer(gateway: Gateway, run: Run) -> None:
    result = run(diff, gateway.with_nodes(f"http://127.0.0.1:{free_port()}"))
    assert result.exit_code == 3
    assert "no answer" in result.stderr


def test_publish_tells_by_node(gateway: Gateway, stub: StubNode, run: Run) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    result = run(publish, gateway.with_nodes(stub.url, away))
    assert result.exit_code == 3
    assert f"{stub.url}  runs {stub.hash}" in result.stderr
    assert f"{away}  away: no answer" in result.stderr
    nodes = json.loads(run(publish, gateway.with_nodes(stub.url, away), "--json").stdout)["nodes"]
    assert [node["state"] for node in nodes] == ["current", "away"]


def test_publish_of_a_broken_file_tells_its_faults_and_what_was_sent(
    gateway: Gateway, stub: StubNode, run: Run
) -> None:
    settings = gateway.with_nodes(stub.url)
    policy = gateway.policy_file.read_text("utf-8")
    gateway.new_key()
    gateway.write_policy("services: 5\n")
    nothing = run(publish, settings)
    assert nothing.exit_code == 1
    assert "kong.yml was not sent, but nothing" in nothing.stderr
    gateway.write_policy(policy)
    assert run(publish, settings).exit_code == 0
    gateway.write_policy("services: 5\n")
    key = gateway.new_key()
    result = run(publish, settings)
    assert result.exit_code == 1
    assert "the last good one with the keys of now" in result.stderr
    assert "kong.yml:1: " in result.stderr
    assert stub.has_key(key.secret)


def test_without_nodes_each_command_says_so(gateway: Gateway, run: Run) -> None:
    for command in (publish, status, diff):
        result = run(command, gateway.settings)
        assert result.exit_code == 3
        assert "KONG_ADMIN_URLS names no node" in result.stderr


def test_without_a_service_status_asks_the_nodes(
    gateway: Gateway, stub: StubNode, run: Run
) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    settings = gateway.with_nodes(stub.url, away)
    before = run(status, settings)
    assert before.exit_code == 3
    assert "No admin service runs" in before.stderr
    assert "outdated" in before.stdout
    assert "away" in before.stdout
    assert run(publish, gateway.with_nodes(stub.url)).exit_code == 0
    after = run(status, gateway.with_nodes(stub.url))
    assert after.exit_code == 0
    assert stub.hash in after.stdout
    assert len(stub.posts) == 1


def test_with_a_service_status_tells_what_it_saw(
    gateway: Gateway, stub: StubNode, reconciling: Reconcile, run: Run
) -> None:
    settings = gateway.with_nodes(stub.url)
    with reconciling(settings):
        wait_for(lambda: "published by" in run(status, settings).stdout, "the service", 5)
        wait_for(lambda: run(status, settings).exit_code == 0, "all current", 5)
        assert "published by a test, " in run(status, settings).stdout
        found = json.loads(run(status, settings, "--json").stdout)
        assert found["current"] is True
        assert found["publisher"]["name"] == "a test"
        (node,) = found["nodes"]
        assert (node["state"], node["hash"]) == ("current", stub.hash)
        gateway.write_policy("services: 5\n")
        wait_for(lambda: run(status, settings).exit_code == 3, "the broken file", 5)
        assert "kong.yml:1: " in run(status, settings).stderr
    assert "No admin service runs" in run(status, settings).stderr


def test_a_service_that_was_killed_is_not_taken_to_run(
    gateway: Gateway, stub: StubNode, run: Run
) -> None:
    settings = gateway.with_nodes(stub.url)
    assert run(publish, settings).exit_code == 0
    with gateway.connect() as connection:
        connection.execute(
            "INSERT INTO control.gateway_publisher (name, seen_at, revision)"
            " VALUES ('killed', now() - interval '1 minute', 0)"
        )
        assert store.read_publisher(connection) is not None
    result = run(status, settings)
    assert result.exit_code == 0
    assert "No admin service runs" in result.stderr


def test_a_database_that_is_away_is_exit_code_4(gateway: Gateway, run: Run) -> None:
    gateway.settings.admin_database_url = "postgresql://admin@127.0.0.1:1/x"
    for command in (publish, status, diff):
        result = run(command, gateway.settings)
        assert result.exit_code == 4
        assert "PostgreSQL (ADMIN_DATABASE_URL)" in result.stderr
