"""Delivery: sign a message, as W5 and as Standard Webhooks, anew for each attempt."""

import base64
import hmac
from collections.abc import Sequence

from services.webhooks.secrets import hmac_key

SIGNATURE = "X-Signature"
MESSAGE_ID = "webhook-id"
TIMESTAMP = "webhook-timestamp"
STANDARD_SIGNATURE = "webhook-signature"


def signature_headers(
    secrets: Sequence[str], *, message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """Return the headers that let a receiver verify `body`.

    `secrets` are whsec_ forms: the current one, then the previous one for as long as it is valid.
    `timestamp` is in seconds since 1970. X-Signature has room for one value only. It is the
    previous secret's until the overlap ends, so that a receiver switches within the overlap or at
    its end; `webhook-signature` lists both, the current one first.
    """
    keys = [hmac_key(secret) for secret in secrets]
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        SIGNATURE: f"sha256={hmac.digest(keys[-1], body, 'sha256').hex()}",
        MESSAGE_ID: message_id,
        TIMESTAMP: str(timestamp),
        STANDARD_SIGNATURE: " ".join(f"v1,{_base64_hmac(key, signed)}" for key in keys),
    }


def _base64_hmac(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, "sha256")).decode("ascii")
