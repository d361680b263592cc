"""Leaving: what a service does between SIGTERM and its end, seen by one that is connected."""

import http.client
import json
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest

from services.core import headers
from services.core.http.health import ACCEPTING_PATH
from services.core.http.serving import LAME_DUCK, NOTICED
from services.local.valkey import RunningValkey
from tests.conftest import Database
from tools.query_process import (
    BACKEND_TOKEN,
    CREDENTIAL_ID,
    QueryProcess,
    running_query,
    settings_for,
)
from tools.waiting import wait_for

ASKED = json.dumps({"product_ids": ["TABLET-00001"]})
GATEWAYS = {
    headers.BACKEND_TOKEN: BACKEND_TOKEN,
    headers.CONSUMER_CUSTOM_ID: "techmart:live",
    headers.CREDENTIAL_IDENTIFIER: CREDENTIAL_ID,
    "Content-Type": "application/json",
}


def ask(connection: http.client.HTTPConnection) -> tuple[int, str | None]:
    """Ask for stock; return the status, and what is said about the connection."""
    connection.request("POST", "/partner/v1/inventory", ASKED, GATEWAYS)
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("Connection")


def check(query: QueryProcess) -> tuple[int, bytes]:
    """Ask on a connection of its own whether it accepts requests; 0 if nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", query.port, timeout=5)
    with closing(connection):
        try:
            connection.request("GET", ACCEPTING_PATH)
            answer = connection.getresponse()
        except ConnectionError:
            return 0, b""
        return answer.status, answer.read()


def leave(query: QueryProcess) -> None:
    query.process.send_signal(signal.SIGTERM)
    wait_for(lambda: bool(query.events("service.leaving")), "leaving")


@pytest.mark.long
def test_a_service_that_leaves_answers_and_asks_not_to_be_used_again(
    database: Database, valkey: RunningValkey, tmp_path: Path
) -> None:
    settings = settings_for(database.url("live_query"), valkey.url)
    with running_query(tmp_path, settings) as query:
        kept, new, other = (
            http.client.HTTPConnection("127.0.0.1", query.port, timeout=5) for _ in range(3)
        )
        with closing(kept), closing(new), closing(other):
            assert ask(kept) == (200, None)
            leave(query)
            new.request("GET", "/health/ready")
            answer = new.getresponse()
            assert answer.status == 503
            assert json.loads(answer.read())["status"] == "leaving"
            assert ask(other) == (200, "close")  # a new connection
            assert ask(kept) == (200, "close")  # one from before
        began = time.monotonic()
        assert query.process.wait(5) == 0
        assert time.monotonic() - began < LAME_DUCK  # nobody is connected


@pytest.mark.long
def test_a_service_that_is_checked_stays_until_its_checkers_have_noticed(
    database: Database, valkey: RunningValkey, tmp_path: Path
) -> None:
    settings = settings_for(database.url("live_query"), valkey.url)
    with running_query(tmp_path, settings) as query:
        assert check(query) == (200, b'{"status":"accepting"}')
        leave(query)
        began = time.monotonic()
        while (status := check(query)[0]) == 503:  # and nobody else is connected
            stayed = time.monotonic() - began
        assert status == 0
        assert NOTICED - 1 < stayed < LAME_DUCK
        assert query.process.wait(5) == 0


@pytest.mark.long
def test_a_second_sigterm_ends_it_at_once(
    database: Database, valkey: RunningValkey, tmp_path: Path
) -> None:
    settings = settings_for(database.url("live_query"), valkey.url)
    with running_query(tmp_path, settings) as query:
        kept = http.client.HTTPConnection("127.0.0.1", query.port, timeout=5)
        with closing(kept):
            assert ask(kept) == (200, None)  # and stays connected
            leave(query)
            began = time.monotonic()
            query.process.send_signal(signal.SIGTERM)
            assert query.process.wait(5) == 0
            assert time.monotonic() - began < LAME_DUCK
