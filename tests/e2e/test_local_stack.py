"""The local stack as a newcomer meets it: up, status, logs, down, and what goes wrong."""

import json
import os
import pwd
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import (
    COMMAND_TIMEOUT,
    PARTNERAPI,
    QUERY,
    REPOSITORY,
    SANDBOX_HOST,
    WEBHOOKS,
    LocalStack,
    register,
)
from tools.processes import descendants, is_alive
from tools.waiting import wait_for

CHILDREN = {
    "admin",
    "deliveries-live",
    "deliveries-sandbox",
    "gateway",
    "internal-live",
    "mail",
    "postgres",
    "query-live",
    "query-sandbox",
    "valkey",
    "webhooks-live",
    "webhooks-sandbox",
}


def test_the_curl_line_that_up_prints_works(stack: LocalStack) -> None:
    (line,) = [line for line in stack.printed.splitlines() if "curl" in line]
    _, _, header, url = shlex.split(line)
    name, _, value = header.partition(": ")
    answer = httpx.get(url, headers={name: value}, trust_env=False)
    assert len(answer.json()["items"]) == 3


def test_the_line_for_a_token_that_up_prints_works_anywhere(
    stack: LocalStack, tmp_path: Path
) -> None:
    (line,) = re.findall(r"a token: `(.*?)`", stack.printed)
    variables = {name: value for name, value in os.environ.items() if "PARTNERAPI" not in name}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=tmp_path,
        env={**variables, "PATH": path},
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT,
        check=True,
    )
    assert done.stdout.startswith("padm_")


def test_up_prints_the_addresses_and_a_key_of_each_environment(stack: LocalStack) -> None:
    address = f"http://127.0.0.1:{stack.base}"
    for expected in (address, stack.key("live"), stack.key("sandbox"), str(stack.state_dir)):
        assert expected in stack.printed
    told = json.loads(stack.run("status", "--json").stdout)
    assert told["urls"]["gateway"] == address


def test_the_keys_of_both_environments_work_and_only_in_their_own(stack: LocalStack) -> None:
    live, sandbox = stack.key("live"), stack.key("sandbox")
    assert stack.query(live).status_code == 200
    assert stack.query(sandbox, host=SANDBOX_HOST).status_code == 200
    assert stack.query(sandbox).status_code == 403
    assert stack.query(live, host=SANDBOX_HOST).status_code == 403


def test_each_environment_answers_with_its_own_products(stack: LocalStack) -> None:
    live = stack.query(stack.key(), "TABLET-00001", "TEST-LAPTOP-00001").json()
    sandbox = stack.query(
        stack.key("sandbox"), "TABLET-00001", "TEST-LAPTOP-00001", host=SANDBOX_HOST
    ).json()
    assert [item["product_id"] for item in live["items"]] == ["TABLET-00001"]
    assert [item["product_id"] for item in sandbox["items"]] == ["TEST-LAPTOP-00001"]


def test_the_internal_stock_api_answers_on_its_own_port(stack: LocalStack) -> None:
    address = f"http://127.0.0.1:{stack.base + 103}/api/v1/products/TABLET-00001/stock"
    assert httpx.get(address, trust_env=False).json()["product_id"] == "TABLET-00001"


def test_status_names_every_process_its_port_and_state(stack: LocalStack) -> None:
    rows = stack.status()
    assert set(rows) == {"supervisor", *CHILDREN}
    assert {rows[name]["state"] for name in CHILDREN} == {"ready"}
    assert rows["postgres"]["port"] == str(stack.base + 54)
    assert rows["deliveries-live"]["port"] == str(stack.base + 104)
    table = stack.run("status")
    assert table.returncode == 0
    assert table.stdout.splitlines()[0].split() == ["NAME", "PID", "PORT", "STATE"]


def test_logs_show_a_child_and_name_the_others_when_asked_for_a_wrong_one(
    stack: LocalStack,
) -> None:
    assert "ready to accept connections" in stack.run("logs", "postgres").stdout
    assert stack.run("logs", "postgres", "-n", "1").stdout.count("\n") == 1
    wrong = stack.run("logs", "postgre")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith(
        "Error: there is no log of postgre; there are admin, deliveries-live, "
    )
    longest = max(map(len, {"supervisor", *CHILDREN}))
    assert f"\n{'query-live':<{longest}} | " in stack.run("logs").stdout


def test_logs_follow_what_is_written_next(stack: LocalStack, tmp_path: Path) -> None:
    command = [*PARTNERAPI, "logs", "supervisor", "-f", "-n", "0"]
    log, seen = stack.state_dir / "logs" / "supervisor.log", tmp_path / "seen"

    def told() -> bool:
        with log.open("a") as writer:
            writer.write("a line of this test\n")
        return "a line of this test\n" in seen.read_text()

    with (
        seen.open("w") as output,
        subprocess.Popen(
            command, cwd=REPOSITORY, env=stack.environment(), stdout=output
        ) as follower,
    ):
        try:
            wait_for(told, "the line of this test")
        finally:
            follower.send_signal(signal.SIGINT)
    assert follower.returncode == 0


def test_a_second_up_says_that_the_stack_runs_already(stack: LocalStack) -> None:
    for detach in ([], ["--detach"]):
        again = stack.run("up", *detach, "--port-base", str(stack.base))
        assert again.returncode == 1
        pid = stack.pid("supervisor")
        assert again.stderr.splitlines() == [
            f"Error: a stack runs already in {stack.state_dir} (pid {pid});"
            f" `partnerapi down --state-dir {stack.state_dir}` ends it"
        ]


def test_a_taken_port_is_one_line_that_names_it(own_stack: LocalStack) -> None:
    with socket.create_server(("127.0.0.1", own_stack.base + 101)):
        for detach in ([], ["--detach"]):
            refused = own_stack.run("up", *detach, "--port-base", str(own_stack.base))
            assert refused.returncode == 1
            assert refused.stderr.splitlines() == [
                f"Error: port {own_stack.base + 101} (query-live) is taken;"
                " choose others with --port-base"
            ]


def test_a_killed_service_is_named_and_started_again(stack: LocalStack) -> None:
    before = stack.pid("query-live")
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: stack.query(stack.key()).status_code == 200, "answers again")
    wait_for(lambda: "query-live is back" in stack.log("supervisor"), "the line for people")
    assert stack.pid("query-live") != before
    log = stack.state_dir / "logs" / "query-live.log"
    said = f"query-live (port {stack.base + 101}) ended with SIGKILL; its log is {log}; it is"
    assert said in stack.log("supervisor")


def test_a_gateway_that_forgot_everything_gets_its_policy_again(stack: LocalStack) -> None:
    kept = stack.state_dir / "gateway" / "configuration"
    kept.unlink()
    os.kill(stack.pid("gateway"), signal.SIGKILL)
    wait_for(lambda: "gateway is back" in stack.log("supervisor"), "the line for people")
    began = time.monotonic()
    # Asked without the contract: a node without a configuration has none of our answers.
    ask = {"headers": {"X-API-Key": stack.key()}, "trust_env": False}
    url = f"http://127.0.0.1:{stack.base}{QUERY}?product_ids=TV-1"
    wait_for(lambda: httpx.get(url, **ask).status_code == 200, "its policy", within=25)
    print(f"right again {time.monotonic() - began:.2f} s after it was back; stated: 5 s")
    assert kept.exists()


def test_a_new_partner_is_callable_and_a_revoked_key_is_not(stack: LocalStack) -> None:
    contact = ("--contact", "it@acme.example")
    created = stack.run("partners", "create", "acme", "--tier", "standard", *contact)
    assert created.returncode == 0, created.stderr
    began = time.monotonic()
    key = stack.run("keys", "create", "acme", "--env", "live").stdout.strip()
    assert stack.query(key).status_code == 200
    took = time.monotonic() - began
    print(f"callable {took:.2f} s after `keys create` was typed; stated: 1 s")
    assert took < 5
    assert stack.run("keys", "revoke", key, "--yes").returncode == 0
    assert stack.query(key).status_code == 401


def test_only_its_user_can_read_the_state_folder(stack: LocalStack) -> None:
    assert stat.S_IMODE(stack.state_dir.stat().st_mode) == 0o700
    for name in ("keys.json", "secrets.json", "stack.json"):
        assert stat.S_IMODE((stack.state_dir / name).stat().st_mode) == 0o600
    assert stack.key() not in stack.log("supervisor")


def test_down_and_status_are_harmless_when_nothing_runs(own_stack: LocalStack) -> None:
    down = own_stack.run("down")
    assert (down.returncode, down.stdout) == (0, f"No stack runs in {own_stack.state_dir}.\n")
    assert own_stack.run("status").returncode == 3
    assert not own_stack.state_dir.exists()


@pytest.mark.long
def test_two_stacks_run_side_by_side_and_one_survives_the_others_end(
    stack: LocalStack, own_stack: LocalStack
) -> None:
    own_stack.started()
    key = own_stack.key()
    assert own_stack.query(key).status_code == 200
    assert own_stack.query(stack.key()).status_code == 401
    down = own_stack.run("down")
    names = ", ".join(sorted(CHILDREN))
    assert down.stdout == f"Ended the stack in {own_stack.state_dir}: {names}.\n"
    assert stack.query(stack.key()).status_code == 200


@contextmanager
def in_foreground(stack: LocalStack) -> Generator[subprocess.Popen[str]]:
    """Run `up` as in a terminal's foreground, until it has printed its summary."""
    with subprocess.Popen(
        [*PARTNERAPI, "up", "--port-base", str(stack.base)],
        cwd=REPOSITORY,
        env=stack.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        while line and "shows what it does" not in line:
            line = process.stdout.readline()
        try:
            yield process
        finally:
            process.terminate()


@pytest.mark.long
def test_ctrl_c_ends_the_stack_cleanly(own_stack: LocalStack) -> None:
    with in_foreground(own_stack) as process:
        children = descendants(process.pid)
        assert len(children) > len(CHILDREN)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=20)
        assert printed.splitlines() == ["Stopping ...", "Stopped."]
        assert process.returncode == 0
        assert not any(map(is_alive, children))
        assert not (own_stack.state_dir / "postgres" / "data" / "postmaster.pid").exists()
        assert not (own_stack.state_dir / "stack.json").exists()


@pytest.mark.long
def test_nothing_is_left_when_the_supervisor_is_killed_and_all_is_kept(
    own_stack: LocalStack,
) -> None:
    own_stack.started()
    supervisor = own_stack.pid("supervisor")
    children = descendants(supervisor)
    assert len(children) > len(CHILDREN)  # PostgreSQL's own processes too
    live, sandbox = own_stack.key("live"), own_stack.key("sandbox")
    registered = register(own_stack, live, "https://partner.example/hook")
    assert own_stack.run("keys", "revoke", sandbox, "--yes").returncode == 0
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, children)), "the children end")
    own_stack.started()
    assert own_stack.key("live") == live
    assert own_stack.query(live).status_code == 200
    with own_stack.partner(live) as client:
        assert client.get(f"{WEBHOOKS}/{registered['id']}").json()["url"] == registered["url"]
    # A key that works no more is replaced, so that what `up` prints always works.
    assert own_stack.key("sandbox") != sandbox
    assert own_stack.query(own_stack.key("sandbox"), host=SANDBOX_HOST).status_code == 200


def test_a_child_that_crashes_at_start_is_one_line_that_names_it(own_stack: LocalStack) -> None:
    data = own_stack.state_dir / "postgres" / "data"
    data.mkdir(parents=True)
    (data.parent / "superuser-password").write_text("x")
    for detach in ([], ["--detach"]):
        began = time.monotonic()
        refused = own_stack.run("up", *detach, "--port-base", str(own_stack.base))
        assert time.monotonic() - began < 10
        assert refused.returncode == 1
        (line,) = refused.stderr.splitlines()
        assert line.startswith(f"Error: postgres (port {own_stack.base + 54}) ended with exit code")
        assert line.endswith(f"its log is {own_stack.state_dir / 'logs' / 'postgres.log'}")
        assert own_stack.run("status").returncode == 3


@pytest.mark.long
def test_a_policy_with_faults_is_told_by_line_and_reaches_no_node(
    stack: LocalStack, own_stack: LocalStack, tmp_path: Path
) -> None:
    policy = tmp_path / "kong.yml"
    text = (REPOSITORY / "gateway" / "kong.yml").read_text()
    policy.write_text(text.replace("allowed_payload_size", "allowed_payload_sise"))
    node = f"http://127.0.0.1:{stack.base + 1}"
    refused = own_stack.up("--policy", str(policy), "--gateway", "none", KONG_ADMIN_URLS=node)
    assert refused.returncode == 1
    lines = refused.stderr.splitlines()
    assert sum("allowed_payload_sise" in line for line in lines) == text.count("payload_size")
    assert lines[0].startswith(f"Error: {policy}:")
    assert stack.query(stack.key()).status_code == 200


def test_running_nodes_must_be_named(own_stack: LocalStack) -> None:
    refused = own_stack.up("--gateway", "none", KONG_ADMIN_URLS="")
    assert refused.stderr.splitlines() == [
        "Error: --gateway none: set KONG_ADMIN_URLS to the admin addresses of the running nodes"
    ]


def test_a_missing_kong_is_one_line(own_stack: LocalStack) -> None:
    refused = own_stack.up("--gateway", "kong", PATH="/usr/bin:/bin")
    assert refused.stderr.splitlines() == [
        "Error: --gateway kong: there is no `kong` on PATH; --gateway embedded needs none"
    ]


# Kong's own start is a shell, a script and nginx below them; its settings are what counts here.
KONG = """#!/bin/sh
test "$1 $KONG_DATABASE $KONG_NGINX_DAEMON" = "start off off" || exit 9
test -z "$KONG_DECLARATIVE_CONFIG" || exit 9
export GATEWAY_PORT="${{KONG_PROXY_LISTEN##*:}}" GATEWAY_ADMIN_PORT="${{KONG_ADMIN_LISTEN##*:}}"
export GATEWAY_PREFIX="$KONG_PREFIX"
{python} -m services.local.gateway
"""


@pytest.mark.long
def test_the_kong_on_path_is_started_and_ended_with_all_that_it_started(
    own_stack: LocalStack, tmp_path: Path
) -> None:
    kong = tmp_path / "bin" / "kong"
    kong.parent.mkdir()
    kong.write_text(KONG.format(python=sys.executable))
    kong.chmod(0o755)
    own_stack.started("--gateway", "kong", PATH=f"{kong.parent}:{os.environ['PATH']}")
    assert own_stack.query(own_stack.key()).status_code == 200
    assert stat.S_IMODE((own_stack.state_dir / "kong").stat().st_mode) == 0o700
    supervisor = own_stack.pid("supervisor")
    children = descendants(supervisor)
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, children)), "the children end")


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="every other test runs as an ordinary user already")
def test_an_ordinary_user_can_run_it_too(own_stack: LocalStack, tmp_path: Path) -> None:
    uid = pwd.getpwnam("nobody").pw_uid  # initdb wants a user that has a name
    own_stack.state_dir = tmp_path.parent / f"{tmp_path.name}-user" / "state"
    own_stack.state_dir.parent.mkdir()
    os.chown(own_stack.state_dir.parent, uid, uid)
    # The clone and its Python may lie below /root: this user may read everything, nothing else.
    user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    user += ["--securebits=+no_setuid_fixup"]
    user += [f"--{kind}-caps=-all,+dac_read_search" for kind in ("inh", "ambient")]
    command = [*user, *PARTNERAPI, "up", "--detach", "--port-base", str(own_stack.base)]
    up = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=own_stack.environment(PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert up.returncode == 0, up.stderr
    assert own_stack.query(own_stack.key()).status_code == 200
    for row in own_stack.status().values():
        assert Path(f"/proc/{row['pid']}").stat().st_uid == uid
