"""Verification: is a webhook genuine? By the contract's section Webhooks."""

import base64
import hmac
import json
import re
import time
from collections.abc import Mapping, Sequence

from partner_inventory.errors import NotGenuineError
from partner_inventory.model import Event

TOLERANCE = 300  # seconds that webhook-timestamp may be away from your clock
SECONDS = re.compile("[0-9]{1,12}")
SECRET_PREFIX = "whsec_"  # noqa: S105 -- what follows it is the secret
KEY_BYTES = range(24, 65)  # behind whsec_, decoded
TEXT_CHARACTERS = range(16, 129)  # of other text

Secrets = str | Sequence[str]


def verify(
    body: bytes, headers: Mapping[str, str], secrets: Secrets, now: float | None = None
) -> Event:
    """Return the event of a webhook, if its `webhook-signature` (Standard Webhooks) is right.

    `body` is the bytes as they came; `secrets` are one, or two while you change from one to the
    other; `now` is in seconds since 1970, the clock's if it is not given.
    Raises NotGenuineError; ValueError if a secret is none (`key_of`).
    """
    given = {name.lower(): value for name, value in headers.items()}
    message_id, sent = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    signatures = given.get("webhook-signature", "")
    if not (message_id and sent and signatures):
        msg = "a header of the signature is missing"
        raise NotGenuineError(msg)
    if not SECONDS.fullmatch(sent):
        msg = "webhook-timestamp is not a number"
        raise NotGenuineError(msg)
    age = round((time.time() if now is None else now) - int(sent))
    if abs(age) > TOLERANCE:
        msg = f"webhook-timestamp is {age} s old"
        raise NotGenuineError(msg)
    signed = f"{message_id}.{sent}.".encode() + body
    ours = ["v1," + base64.b64encode(each).decode() for each in _digests(signed, secrets)]
    # While a secret is rotated there are two signatures: one that matches is enough.
    if not _any_equal(ours, signatures.split(" ")):
        msg = "no signature matches"
        raise NotGenuineError(msg)
    event = _read(body)
    if event.event_id != message_id:
        msg = "webhook-id is not the event_id"
        raise NotGenuineError(msg)
    return event


def verify_x_signature(body: bytes, headers: Mapping[str, str], secrets: Secrets) -> Event:
    """Return the event of a webhook, if its `X-Signature` is right.

    It covers the body only, so that a recording passes: prefer `verify`. Errors as there.
    """
    given = {name.lower(): value for name, value in headers.items()}
    ours = ["sha256=" + each.hex() for each in _digests(body, secrets)]
    if not _any_equal(ours, [given.get("x-signature", "")]):
        msg = "X-Signature does not verify"
        raise NotGenuineError(msg)
    return _read(body)


def key_of(secret: str) -> bytes:
    """Return the key: what follows whsec_, decoded; of a secret of your own that is text, UTF-8.

    Call it when your program starts: with an empty or a short key anybody could sign, and the error
    is better then than at the first webhook. Raises ValueError.
    """
    if secret.startswith(SECRET_PREFIX):
        key = _decoded(secret.removeprefix(SECRET_PREFIX))
        fits = len(key) in KEY_BYTES
    else:
        key, fits = secret.encode(), len(secret) in TEXT_CHARACTERS
    if not fits:
        msg = (
            "a webhook secret is whsec_ and base64 of 24 to 64 bytes,"
            " or other text of 16 to 128 characters"
        )
        raise ValueError(msg)
    return key


def _decoded(encoded: str) -> bytes:
    """Return what base64 stands for, its padding there or not; nothing if it is no base64."""
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        return b""


def _digests(signed: bytes, secrets: Secrets) -> list[bytes]:
    each = [secrets] if isinstance(secrets, str) else secrets
    return [hmac.digest(key_of(secret), signed, "sha256") for secret in each]


def _any_equal(ours: list[str], theirs: list[str]) -> bool:
    """Compare in constant time; of texts with other than ASCII, by their bytes."""
    return any(
        hmac.compare_digest(one.encode(), other.encode()) for one in ours for other in theirs
    )


def _read(body: bytes) -> Event:
    try:
        return Event.of(json.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        msg = f"the body can't be read: {exc}"
        raise NotGenuineError(msg) from exc
