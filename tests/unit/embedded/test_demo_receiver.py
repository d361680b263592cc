"""The demo's receiver: it is a partner, so it must refuse what is not genuine."""

import base64
import hmac
import json
import socket

import httpx
import pytest

from services.local.demo_receiver import Receiver, fault_of

KEY = b"k" * 32
SECRET = "whsec_" + base64.b64encode(KEY).decode()
NOW = 1_800_000_000.0
EVENT = {
    "event_id": "e-1",
    "event_type": "inventory.low_stock",
    "timestamp": "2026-11-22T09:30:41.070022Z",
    "data": {},
    "retry_count": 0,
}
BODY = json.dumps(EVENT).encode()
OF_ANOTHER = json.dumps(EVENT | {"event_id": "e-2"}).encode()


def signed(body: bytes = BODY, key: bytes = KEY, at: int = int(NOW)) -> dict[str, str]:
    """Return the headers of a genuine call, made as the contract says (W5)."""
    standard = hmac.digest(key, f"e-1.{at}.".encode() + body, "sha256")
    return {
        "X-Signature": "sha256=" + hmac.digest(key, body, "sha256").hex(),
        "webhook-id": "e-1",
        "webhook-timestamp": str(at),
        "webhook-signature": "v1," + base64.b64encode(standard).decode(),
    }


def test_a_genuine_call_has_no_fault() -> None:
    assert fault_of(SECRET, signed(), BODY, NOW) == ""


def test_a_signature_of_an_older_secret_beside_ours_is_accepted() -> None:
    headers = signed()
    headers["webhook-signature"] = "v1,AAAA " + headers["webhook-signature"]
    assert fault_of(SECRET, headers, BODY, NOW) == ""


@pytest.mark.parametrize(
    ("headers", "body", "words"),
    [
        (signed(), BODY.replace(b"low", b"out"), "X-Signature does not verify"),
        (signed(key=b"o" * 32), BODY, "X-Signature does not verify"),
        ({}, BODY, "X-Signature does not verify"),
        (signed(at=int(NOW) - 301), BODY, "webhook-timestamp is"),
        (signed() | {"webhook-timestamp": "soon"}, BODY, "webhook-timestamp is not a number"),
        (signed() | {"webhook-signature": "v1,AAAA"}, BODY, "no signature matches"),
        (signed() | {"webhook-id": "e-2"}, BODY, "no signature matches"),
        (signed(b"[]"), b"[]", "the body can't be read"),
        (signed(b"not JSON"), b"not JSON", "the body can't be read"),
        (signed(OF_ANOTHER), OF_ANOTHER, "webhook-id is not the event_id"),
    ],
)
def test_whatever_is_not_genuine_is_named(headers: dict[str, str], body: bytes, words: str) -> None:
    receiver = Receiver(clock=lambda: NOW)
    receiver.secret = SECRET
    assert receiver.take(headers, body) == 401
    receiver.close()
    assert words in receiver.received[0].fault


def test_a_receiver_that_is_away_refuses_connections_and_comes_back_at_its_address() -> None:
    receiver = Receiver()
    try:
        receiver.open()
        assert httpx.post(receiver.url, content=b"{}", trust_env=False).status_code == 401
        assert "before the secret" in receiver.received[0].fault
        receiver.go_away()
        with pytest.raises(httpx.ConnectError):
            httpx.post(receiver.url, trust_env=False)
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind(("127.0.0.1", httpx.URL(receiver.url).port or 0))
        receiver.open()
        assert httpx.post(receiver.url, content=b"{}", trust_env=False).status_code == 401
    finally:
        receiver.close()
