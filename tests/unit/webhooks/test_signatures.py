"""Signatures (W5): what we send verifies with the reference libraries and with W5 alone."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from services.domain.stock import item_json
from services.webhooks.delivery.payload import render_payload
from services.webhooks.delivery.signatures import signature_headers
from services.webhooks.secrets import whsec_form
from tests.javascript_library import Message, verify_in_javascript
from tests.needs import PACKAGES

Verify = Callable[[Sequence[Message]], list[str | None]]

AT = datetime(2026, 11, 22, 9, 14, 3, 512804, UTC)
EVENT_ID = UUID("0199a1b2-0000-7000-8000-0123456789ab")
BODY = render_payload(
    event_id=EVENT_ID,
    event_type="inventory.low_stock",
    occurred_at=AT,
    data=item_json("Größe-📦", 9, AT, 12).decode(),
    retry_count=1,
)
OLD = whsec_form("the text that a partner chose")
NEW = whsec_form("whsec_" + base64.b64encode(bytes(range(32))).decode())
OTHER = whsec_form("whsec_" + base64.b64encode(bytes(32)).decode())
# A rotation: what is valid before it, during the overlap, and after it; the current one first.
BEFORE, DURING, AFTER = [OLD], [NEW, OLD], [NEW]


def sign(
    secrets: Sequence[str], body: bytes = BODY, timestamp: int | None = None
) -> dict[str, str]:
    return signature_headers(
        secrets,
        message_id=str(EVENT_ID),
        timestamp=int(time.time()) if timestamp is None else timestamp,
        body=body,
    )


def verify_in_python(messages: Sequence[Message]) -> list[str | None]:
    def verify(secret: str, body: bytes, headers: Mapping[str, str]) -> str | None:
        try:
            Webhook(secret).verify(body, dict(headers))
        except WebhookVerificationError as exc:
            return str(exc)
        return None

    return [verify(*message) for message in messages]


@pytest.fixture(
    params=[
        pytest.param(verify_in_python, id="Python"),
        pytest.param(verify_in_javascript, id="JavaScript", marks=pytest.mark.needs(PACKAGES)),
    ]
)
def verify(request: pytest.FixtureRequest) -> Verify:
    """Return the reference library of a language."""
    return request.param


def verifies_by_w5(key: bytes, body: bytes, headers: Mapping[str, str]) -> bool:
    """Do what a receiver does that read W5 and nothing else."""
    scheme, _, value = headers["X-Signature"].partition("=")
    return scheme == "sha256" and value == hmac.new(key, body, hashlib.sha256).hexdigest()


def test_the_reference_library_verifies_before_during_and_after_a_rotation(
    verify: Verify,
) -> None:
    valid = [(OLD, BEFORE), (OLD, DURING), (NEW, DURING), (NEW, AFTER)]
    assert verify([(held, BODY, sign(secrets)) for held, secrets in valid]) == [None] * 4


def test_the_reference_library_refuses_a_secret_before_its_time_and_after_it(
    verify: Verify,
) -> None:
    invalid = [(NEW, BEFORE), (OLD, AFTER), (OTHER, BEFORE), (OTHER, DURING), (OTHER, AFTER)]
    answers = verify([(held, BODY, sign(secrets)) for held, secrets in invalid])
    assert all(answer and "No matching signature" in answer for answer in answers)


def test_the_reference_library_refuses_a_changed_body(verify: Verify) -> None:
    changed = BODY.replace(b'"quantity":9', b'"quantity":8')
    assert changed != BODY
    answers = verify([(OLD, changed, sign(DURING)), (OLD, BODY + b" ", sign(DURING))])
    assert all(answer and "No matching signature" in answer for answer in answers)


def test_the_reference_library_refuses_another_id_than_the_signed_one(verify: Verify) -> None:
    headers = {**sign(DURING), "webhook-id": "0199a1b2-0000-7000-8000-000000000000"}
    (answer,) = verify([(OLD, BODY, headers)])
    assert answer
    assert "No matching signature" in answer


def test_the_reference_library_refuses_an_old_timestamp(verify: Verify) -> None:
    old = int(time.time()) - 5 * 60 - 10
    renewed = {**sign(BEFORE, timestamp=old), "webhook-timestamp": str(int(time.time()))}
    answers = verify([(OLD, BODY, sign(BEFORE, timestamp=old)), (OLD, BODY, renewed)])
    assert answers[0]
    assert "too old" in answers[0]
    assert answers[1]
    assert "No matching signature" in answers[1]


def test_a_receiver_written_to_w5_alone_verifies_throughout_a_rotation() -> None:
    """It switches at the end of the overlap; until then X-Signature is of the secret it holds."""
    old_key = b"the text that a partner chose"
    new_key = bytes(range(32))
    assert verifies_by_w5(old_key, BODY, sign(BEFORE))
    assert verifies_by_w5(old_key, BODY, sign(DURING))
    assert verifies_by_w5(new_key, BODY, sign(AFTER))
    assert not verifies_by_w5(new_key, BODY, sign(DURING))
    assert not verifies_by_w5(old_key, BODY, sign(AFTER))
    assert not verifies_by_w5(old_key, BODY + b" ", sign(BEFORE))


def test_the_headers_are_those_of_the_contract() -> None:
    headers = sign(DURING, timestamp=1_763_802_843)
    assert list(headers) == ["X-Signature", "webhook-id", "webhook-timestamp", "webhook-signature"]
    assert headers["webhook-id"] == str(EVENT_ID)
    assert headers["webhook-timestamp"] == "1763802843"
    signed = f"{EVENT_ID}.1763802843.".encode() + BODY
    assert headers["webhook-signature"].split(" ") == [
        "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        for key in (bytes(range(32)), b"the text that a partner chose")
    ]


def test_the_body_reads_as_json_in_the_reference_library() -> None:
    assert Webhook(OLD).verify(BODY, sign(BEFORE)) == json.loads(BODY)
