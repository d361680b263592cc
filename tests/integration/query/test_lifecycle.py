"""Starting and ending a query program: settings, ports, SIGTERM."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from services.local.children import free_port
from services.local.valkey import RunningValkey
from tests.conftest import Database
from tools.query_process import BACKEND_TOKEN, CREDENTIAL_ID, running_query, settings_for
from tools.waiting import wait_for

LINES = 200  # of over 1 kB; a pipe that nobody reads takes 64 kB
ROOT = Path(__file__).parents[3]
BODY = b'{"product_ids":["A"]}'
HEAD = (
    b"POST /partner/v1/inventory HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"X-Backend-Token: " + BACKEND_TOKEN.encode() + b"\r\nX-Consumer-Custom-ID: techmart:live\r\n"
    b"X-Credential-Identifier: " + CREDENTIAL_ID.encode() + b"\r\n"
    b"Expect: 100-continue\r\nContent-Length: 21\r\n\r\n"
)
CLOSED_PORT_URL = "postgresql://live_query:x@127.0.0.1:9/none"


def run(program: list[str], settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program that is to end by itself."""
    command = [sys.executable, "-m", "services.query", *program]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def test_every_fault_of_the_settings_is_told_at_once_without_their_values() -> None:
    ended = run(
        ["partner"],
        {
            "ENVIRONMENT": "production",
            "DATABASE_URL": "mysql://user:secret-one@localhost/x",
            "CACHE_ULR": "valkey://:secret-two@localhost",
            "BACKEND_TOKEN": "secret-three",
            "PORT": "http",
            "CACHE_MAX_AGE_SECONDS": "26",
            "STOCK_POLL_SECONDS": "0",
            "DATABASE_POOL_SIZE": "0",
            "LOG_FORMAT": "xml",
        },
    )
    assert ended.returncode == 2
    named = [line.partition(":")[0] for line in ended.stderr.splitlines()[1:]]
    assert sorted(named) == [
        "BACKEND_TOKEN",
        "CACHE_MAX_AGE_SECONDS",
        "CACHE_ULR",
        "DATABASE_POOL_SIZE",
        "DATABASE_URL",
        "ENVIRONMENT",
        "LOG_FORMAT",
        "PORT",
        "STOCK_POLL_SECONDS",
    ]
    assert "secret" not in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr


@pytest.mark.long
def test_a_log_that_nobody_reads_stops_no_request(database: Database) -> None:
    port = free_port()
    settings = settings_for(database.url("live_query"), "valkey://127.0.0.1:9/0", PORT=port)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings}
    command = [sys.executable, "-m", "services.query", "partner"]
    with (
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        try:
            wait_for(lambda: _is_live(client), "a process that lives")
            for _ in range(LINES):
                assert client.get("/" + "x" * 1_000).status_code == 404
            shown = client.get("/metrics").text
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert "log_lines_lost_total 0.0" in shown  # they wait


def _is_live(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/health/live").status_code == 200
    return False


def test_the_internal_program_needs_no_backend_token() -> None:
    without = settings_for(CLOSED_PORT_URL, "valkey://127.0.0.1:9")
    del without["BACKEND_TOKEN"]
    assert "BACKEND_TOKEN: required" in run(["partner"], without).stderr
    assert run(["internal"], {**without, "PORT": "x"}).stderr.count("\n") == 2


@pytest.mark.parametrize("arguments", [[], ["both"], ["partner", "internal"]])
def test_a_wrong_command_line_says_how_it_goes(arguments: list[str]) -> None:
    ended = run(arguments, {})
    assert ended.returncode == 2
    assert ended.stderr == "usage: python -m services.query partner|internal\n"


def test_a_taken_port_is_one_line_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = settings_for(CLOSED_PORT_URL, "valkey://127.0.0.1:9", PORT=port)
        ended = run(["partner"], settings)
    assert ended.returncode == 1
    assert ended.stderr == (
        f"query partner: can't listen on 127.0.0.1, port {port}: Address already in use\n"
    )


@pytest.mark.long
def test_it_starts_while_its_dependencies_are_away_and_says_so(tmp_path: Path) -> None:
    settings = settings_for(
        f"postgresql://live_query:x@127.0.0.1:{free_port()}/none",
        f"valkey://127.0.0.1:{free_port()}",
    )
    with running_query(tmp_path, settings, wait_ready=False) as query, query.client() as client:
        assert client.get("/health/live").status_code == 200
        ready = client.get("/health/ready")
        assert ready.status_code == 503
        assert ready.json()["dependencies"] == {"postgresql": "down", "valkey": "down"}
        response = client.post("/partner/v1/inventory", json={"product_ids": ["A"]})
        assert response.status_code == 503
        query.process.send_signal(signal.SIGTERM)
        assert query.process.wait(timeout=10) == 0


def test_sigterm_lets_a_request_under_way_finish_and_takes_no_new_one(
    shared_url: str, valkey: RunningValkey, tmp_path: Path
) -> None:
    with running_query(tmp_path, settings_for(shared_url, valkey.url)) as query:
        address = ("127.0.0.1", query.port)
        idle = socket.create_connection(address, timeout=5)
        with idle, socket.create_connection(address, timeout=5) as connection:
            connection.sendall(HEAD)
            # The service asks for the body: the request is under way.
            assert connection.recv(65_536).startswith(b"HTTP/1.1 100 ")
            query.process.send_signal(signal.SIGTERM)
            assert idle.recv(1) == b""  # an idle connection is closed
            with pytest.raises(ConnectionError):
                refuse_within(address, 5)
            assert query.process.poll() is None
            connection.sendall(BODY)
            answer = read_to_end(connection)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"not_found":["A"]' in answer
        began = time.monotonic()
        assert query.process.wait(timeout=10) == 0
        assert time.monotonic() - began < 5
        # What the last request read is in the cache: the shutdown waited for that write.
        with valkey.connect() as cache:
            assert cache.exists("live:item:A") == 1
        assert not [event for event in query.events() if event["level"] == "error"]


def read_to_end(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes."""
    answer = b""
    while part := connection.recv(65_536):
        answer += part
    return answer


def refuse_within(address: tuple[str, int], seconds: float) -> None:
    """Connect again and again until that is refused."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        socket.create_connection(address, timeout=1).close()


def test_an_unexpected_fault_is_a_500_that_says_nothing_and_a_log_that_says_all(
    shared_url: str, valkey: RunningValkey, tmp_path: Path
) -> None:
    # The sandbox's role may not read live stock: a fault of the settings that no code expects.
    url = shared_url.replace("live_query", "sandbox_query")
    settings = settings_for(url, valkey.url)
    with running_query(tmp_path, settings, wait_ready=False) as query, query.client() as client:
        headers = {"X-Request-ID": "look-for-me"}
        body = {"product_ids": ["A"]}
        response = client.post("/partner/v1/inventory", json=body, headers=headers)
        assert response.status_code == 500
        assert response.json() == {
            "code": "INTERNAL_ERROR",
            "message": "An unexpected error occurred",
            "request_id": "look-for-me",
        }
        assert client.get("/health/ready").status_code == 503
        assert client.get("/health/accepting").status_code == 200
        (event,) = query.events("request.failed")
        assert event["request_id"] == "look-for-me"
        assert "InsufficientPrivilege" in event["exception"]
