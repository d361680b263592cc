"""The sample receiver: only what is genuine is taken, once, and nothing older than what is held."""

import base64
import hmac
import json
import socket
import threading
import time
from collections.abc import Generator
from contextlib import closing

import httpx
import pytest

from receive_webhooks import Inbox, Receiver

KEYS = {"old": b"o" * 32, "new": b"n" * 32}
SECRETS = ["whsec_" + base64.b64encode(key).decode() for key in KEYS.values()]
WITHIN = 10.0  # seconds


@pytest.fixture
def url() -> Generator[str]:
    with closing(Inbox(":memory:")) as inbox, Receiver(0, SECRETS, inbox) as receiver:
        serving = threading.Thread(target=receiver.serve_forever, args=[0.01])
        serving.start()
        yield f"http://127.0.0.1:{receiver.server_address[1]}/hooks/stock"
        receiver.shutdown()
        serving.join(WITHIN)


def send(url: str, event_id: str, version: int, *, key: bytes = KEYS["old"]) -> int:
    """Send an event as the API does; return the status."""
    at = "2026-11-22T09:30:41Z"
    item = {"product_id": "A", "quantity": version, "status": "in_stock", "updated_at": at}
    event = {"event_id": event_id, "event_type": "inventory.updated", "timestamp": at}
    body = json.dumps(event | {"data": item | {"version": version}, "retry_count": 0}).encode()
    now = str(round(time.time()))
    digest = hmac.digest(key, f"{event_id}.{now}.".encode() + body, "sha256")
    headers = {
        "webhook-id": event_id,
        "webhook-timestamp": now,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
    return httpx.post(url, content=body, headers=headers, timeout=WITHIN).status_code


def test_a_receiver_does_not_start_with_a_secret_that_is_none() -> None:
    with (
        closing(Inbox(":memory:")) as inbox,
        pytest.raises(ValueError, match="base64 of 24 to 64 bytes"),
    ):
        Receiver(0, [SECRETS[0], "whsec_"], inbox)


def test_an_event_is_taken_once_and_an_older_one_changes_nothing(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert send(url, "e-1", 20) == 204
    assert send(url, "e-1", 20, key=KEYS["new"]) == 204  # while the secret is changed: either
    assert send(url, "e-2", 19) == 204
    assert capsys.readouterr().out.splitlines() == [
        "inventory.updated A 20",
        "duplicate: inventory.updated e-1",
        "older: inventory.updated A",
    ]


def test_what_is_not_genuine_is_refused_and_not_taken(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert send(url, "e-1", 20, key=b"x" * 32) == 401
    assert capsys.readouterr().out == "refused: no signature matches\n"
    assert send(url, "e-1", 20) == 204
    assert capsys.readouterr().out == "inventory.updated A 20\n"


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [
        ("/other", "Content-Length: 9\r\n", b"404"),
        ("/hooks/stock", "Content-Length: 65537\r\n", b"413"),
        ("/hooks/stock", "Content-Length: -1\r\n", b"411"),
        ("/hooks/stock", "Content-Length: many\r\n", b"411"),
        ("/hooks/stock", "", b"411"),
    ],
)
def test_what_is_no_event_is_refused_before_its_body_is_read(
    url: str, path: str, length: str, status: bytes
) -> None:
    target = httpx.URL(url)
    with socket.create_connection((target.host, target.port or 0), WITHIN) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: shop\r\n{length}\r\n".encode())
        assert connection.recv(100).split()[1] == status
