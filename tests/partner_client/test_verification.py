"""The client's check of signatures, held against the contract's worked example and a library."""

import base64
import hmac
import json
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from partner_inventory import NotGenuineError, key_of, verify, verify_x_signature
from tools.contract.document import load_document

TEXT_SECRET = "a text that only you and we know"


def worked_example() -> tuple[dict[str, str], dict[str, str]]:
    """Return the contract's example by its words, and that with a text as secret."""
    lines = [line.strip() for line in load_document()["info"]["description"].splitlines()]
    first, other = (at for at, line in enumerate(lines) if line.startswith("secret  "))
    return (
        dict(line.split(maxsplit=1) for line in lines[first : first + 6]),
        dict(line.split(maxsplit=1) for line in lines[other : other + 3]),
    )


EXAMPLE, WITH_TEXT = worked_example()
SECRET = EXAMPLE["secret"]
BODY = EXAMPLE["body"].encode()
AT = int(EXAMPLE["webhook-timestamp"])
HEADERS = {name: EXAMPLE[name] for name in EXAMPLE if name.startswith(("webhook", "X-"))}
OTHER_SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()


def signed(body: bytes, message_id: str = "e-1") -> dict[str, str]:
    """Return the headers of any body, signed by a library that is not ours."""
    at = datetime.fromtimestamp(AT, UTC)
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(AT),
        "webhook-signature": Webhook(SECRET).sign(message_id, at, body.decode()),
        "x-signature": "sha256=" + hmac.digest(key, body, "sha256").hex(),
    }


def test_the_contracts_example_is_genuine_and_read() -> None:
    event = verify(BODY, HEADERS, SECRET, now=AT)
    assert event == verify_x_signature(BODY, HEADERS, [SECRET])
    assert (event.event_type, event.retry_count) == ("inventory.low_stock", 2)
    assert event.event_id == HEADERS["webhook-id"]
    assert event.timestamp == datetime(2026, 11, 22, 9, 30, 41, 70022, tzinfo=UTC)
    assert event.item is not None
    assert (event.item.product_id, event.item.quantity) == ("SKU-20017", 9)
    assert event.item.version == 918311


def test_a_secret_that_is_other_text_is_its_own_key() -> None:
    headers = HEADERS | {name: WITH_TEXT[name] for name in ("webhook-signature", "X-Signature")}
    verify(BODY, headers, TEXT_SECRET, now=AT)
    verify_x_signature(BODY, headers, TEXT_SECRET)
    with pytest.raises(NotGenuineError):
        verify(BODY, headers, SECRET, now=AT)


def test_one_of_several_secrets_and_of_several_signatures_is_enough() -> None:
    many = HEADERS | {"webhook-signature": f"v1,AAAA v2,B {HEADERS['webhook-signature']}"}
    verify(BODY, many, [OTHER_SECRET, SECRET], now=AT)
    verify_x_signature(BODY, many, (OTHER_SECRET, SECRET))


def test_names_of_headers_are_read_in_any_case() -> None:
    verify(BODY, {name.upper(): value for name, value in HEADERS.items()}, SECRET, now=AT)


@pytest.mark.parametrize("away", [-300, 300])
def test_five_minutes_are_not_too_old(away: int) -> None:
    verify(BODY, HEADERS, SECRET, now=AT + away)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"webhook-signature": ""}, "a header of the signature is missing"),
        ({"webhook-timestamp": "soon"}, "webhook-timestamp is not a number"),
        ({"webhook-timestamp": "9" * 5000}, "webhook-timestamp is not a number"),
        ({"webhook-timestamp": str(AT - 301)}, "webhook-timestamp is 301 s old"),
        ({"webhook-timestamp": str(AT + 301)}, "webhook-timestamp is -301 s old"),
        ({"webhook-timestamp": str(AT + 1)}, "no signature matches"),
        ({"webhook-id": "another"}, "no signature matches"),
        ({"webhook-signature": HEADERS["webhook-signature"][:-1]}, "no signature matches"),
        ({"webhook-signature": "v1"}, "no signature matches"),
        ({"webhook-signature": "v1,Grüße"}, "no signature matches"),
        ({"webhook-signature": "v2" + HEADERS["webhook-signature"][2:]}, "no signature matches"),
    ],
)
def test_whatever_is_changed_is_refused_in_words(changed: dict[str, str], words: str) -> None:
    with pytest.raises(NotGenuineError, match=words):
        verify(BODY, HEADERS | changed, SECRET, now=AT)


@pytest.mark.parametrize("secrets", [OTHER_SECRET, [], [OTHER_SECRET, TEXT_SECRET]])
def test_another_secret_and_another_body_are_refused(secrets: str | list[str]) -> None:
    with pytest.raises(NotGenuineError, match="no signature matches"):
        verify(BODY, HEADERS, secrets, now=AT)
    with pytest.raises(NotGenuineError, match="X-Signature does not verify"):
        verify_x_signature(BODY, HEADERS, secrets)
    with pytest.raises(NotGenuineError, match="no signature matches"):
        verify(BODY.replace(b'"quantity":9', b'"quantity":8'), HEADERS, SECRET, now=AT)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_not base64",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "a" * 15,
        "a" * 129,
    ],
)
def test_an_empty_or_a_short_secret_is_a_fault_of_the_receiver(secret: str) -> None:
    with pytest.raises(ValueError, match="base64 of 24 to 64 bytes"):
        key_of(secret)
    for secrets in (secret, [SECRET, secret]):
        with pytest.raises(ValueError, match="base64 of 24 to 64 bytes"):
            verify(BODY, HEADERS, secrets, now=AT)
        with pytest.raises(ValueError, match="base64 of 24 to 64 bytes"):
            verify_x_signature(BODY, HEADERS, secrets)


@pytest.mark.parametrize("length", [24, 25, 64])
def test_the_key_of_a_secret_is_what_follows_whsec_with_its_padding_or_without(
    length: int,
) -> None:
    encoded = base64.b64encode(bytes(range(length))).decode()
    assert key_of(f"whsec_{encoded}") == key_of(f"whsec_{encoded.rstrip('=')}")
    assert key_of(f"whsec_{encoded}") == bytes(range(length))
    assert key_of("ä" * 16) == ("ä" * 16).encode()


@pytest.mark.parametrize("body", [b"not JSON", b"[]", b"{}", b'{"event_id": "e-1", "data": 1}'])
def test_a_signed_body_that_can_not_be_read_is_refused_too(body: bytes) -> None:
    with pytest.raises(NotGenuineError, match="the body can't be read"):
        verify(body, signed(body), SECRET, now=AT)
    with pytest.raises(NotGenuineError, match="the body can't be read"):
        verify_x_signature(body, signed(body), SECRET)


def test_an_event_of_another_id_than_its_header_is_refused() -> None:
    with pytest.raises(NotGenuineError, match="webhook-id is not the event_id"):
        verify(BODY, signed(BODY, "another"), SECRET, now=AT)


@pytest.mark.parametrize("data", [{"webhook_id": "w-1"}, {"new": [1.5, None]}])
def test_a_ping_and_a_type_that_is_newer_than_the_client_have_no_item(
    data: dict[str, object],
) -> None:
    event = {"event_id": "e-1", "event_type": "new", "timestamp": "2026-11-22T09:30:41Z"}
    body = json.dumps(event | {"data": data, "retry_count": 0, "newer": {}}).encode()
    read = verify(body, signed(body), SECRET, now=AT)
    assert (read.item, read.data) == (None, data)
