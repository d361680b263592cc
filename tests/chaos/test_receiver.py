"""The receiver that other tests rely on: it sees what is genuine and what is not."""

import base64
import hmac
import json
import time
from collections.abc import Generator

import httpx
import pytest

from tools.receiver import NO_ANSWER, Behaviour, Receipt
from tools.receiver_process import Receiver, running_receiver

KEY, OTHER = b"k" * 32, b"o" * 32
EVENT = "0193b2c0-0000-7000-8000-0000{:08x}"
DATA = {"product_id": "A", "quantity": 7, "status": "low_stock", "updated_at": "", "version": 3}


def whsec(key: bytes) -> str:
    return f"whsec_{base64.b64encode(key).decode()}"


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Generator[Receiver]:
    with running_receiver(tmp_path_factory.mktemp("receiver"), hosts=2) as running:
        yield running


def send(
    receiver: Receiver,
    endpoint: int,
    *keys: bytes,
    event_id: str = EVENT.format(0),
    retry_count: int = 0,
    timestamp: int | None = None,
    damage: bytes = b"",
    timeout: float = 5,
    **data: object,
) -> int:
    """Send a webhook as W4 and W5 describe it; return the status."""
    payload = {
        "event_id": event_id,
        "event_type": "inventory.updated",
        "timestamp": "2026-11-22T09:14:03.512804Z",
        "data": DATA | data,
        "retry_count": retry_count,
    }
    body = json.dumps(payload).encode()
    sent = str(int(time.time()) if timestamp is None else timestamp)
    signed = f"{event_id}.{sent}.".encode() + body
    headers = {
        "X-Signature": "sha256=" + hmac.new(keys[-1], body, "sha256").hexdigest(),
        "webhook-id": event_id,
        "webhook-timestamp": sent,
        "webhook-signature": " ".join(
            "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys
        ),
    }
    url = receiver.url(endpoint)
    answer = httpx.post(
        url, content=body + damage, headers=headers, trust_env=False, timeout=timeout
    )
    return answer.status_code


def last(receiver: Receiver) -> Receipt:
    return receiver.receipts(receiver.count() - 1)[0]


def test_a_genuine_request_is_noted_with_what_it_tells(receiver: Receiver) -> None:
    receiver.configure(1, [whsec(KEY)])
    before = time.time()
    assert send(receiver, 1, KEY, retry_count=2) == 204
    receipt = last(receiver)
    assert before <= receipt.received_at <= time.time()
    assert receipt == Receipt(
        1, EVENT.format(0), "inventory.updated", "A", 3, 7, 2, receipt.received_at, 204, 0, [0], ""
    )


def test_both_signatures_of_an_overlap_are_known_by_their_secrets(receiver: Receiver) -> None:
    receiver.configure(2, [whsec(KEY), whsec(OTHER)])
    send(receiver, 2, OTHER, KEY)
    assert (last(receiver).x_signature, last(receiver).standard) == (0, [1, 0])


def test_another_secret_does_not_verify(receiver: Receiver) -> None:
    receiver.configure(3, [whsec(KEY)])
    send(receiver, 3, OTHER)
    assert (last(receiver).x_signature, last(receiver).standard) == (-1, [-1])


def test_a_changed_body_does_not_verify(receiver: Receiver) -> None:
    receiver.configure(3, [whsec(KEY)])
    send(receiver, 3, KEY, damage=b" ")
    assert (last(receiver).x_signature, last(receiver).standard) == (-1, [-1])


def test_an_old_timestamp_and_a_wrong_status_are_faults(receiver: Receiver) -> None:
    receiver.configure(3, [whsec(KEY)])
    send(receiver, 3, KEY, timestamp=int(time.time()) - 301)
    assert "webhook-timestamp" in last(receiver).fault
    send(receiver, 3, KEY, quantity=11)
    assert "11 units are not low_stock" in last(receiver).fault


def test_a_body_that_is_no_json_is_a_fault(receiver: Receiver) -> None:
    httpx.post(receiver.url(3), content=b"{", trust_env=False)
    assert last(receiver).fault


def test_failures_end_after_the_attempts_they_are_for(receiver: Receiver) -> None:
    receiver.configure(4, [whsec(KEY)], [Behaviour(500, attempts=2)])
    assert [send(receiver, 4, KEY, retry_count=count) for count in range(3)] == [500, 500, 204]


def test_a_share_of_the_events_behaves_otherwise_in_every_attempt(receiver: Receiver) -> None:
    receiver.configure(5, [whsec(KEY)], [Behaviour(500, share=0.25), Behaviour(503, share=0.25)])

    def statuses(share: float) -> list[int]:
        event_id = EVENT.format(int(share * 2**32))
        return [send(receiver, 5, KEY, event_id=event_id, retry_count=count) for count in (0, 1)]

    assert [statuses(share) for share in (0.2, 0.4, 0.6)] == [[500] * 2, [503] * 2, [204] * 2]


def test_a_hanging_endpoint_notes_the_request_and_says_nothing(receiver: Receiver) -> None:
    receiver.configure(6, [whsec(KEY)], [Behaviour(NO_ANSWER)])
    with pytest.raises(httpx.ReadTimeout):
        send(receiver, 6, KEY, timeout=0.2)
    assert (last(receiver).endpoint, last(receiver).status) == (6, NO_ANSWER)


def test_a_slow_endpoint_answers_after_its_time(receiver: Receiver) -> None:
    receiver.configure(7, [whsec(KEY)], [Behaviour(after=0.1)])
    began = time.monotonic()
    assert send(receiver, 7, KEY) == 204
    assert time.monotonic() - began >= 0.1
