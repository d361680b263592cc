"""Delivery: the body of a webhook (W4)."""

from datetime import datetime
from uuid import UUID

import msgspec

from services.core.timestamps import rfc3339


class Payload(msgspec.Struct):
    """A webhook's body, its fields in the order of the contract."""

    event_id: UUID
    event_type: str
    timestamp: str
    data: msgspec.Raw
    retry_count: int


_encode = msgspec.json.Encoder().encode


def render_payload(
    *, event_id: UUID, event_type: str, occurred_at: datetime, data: str, retry_count: int
) -> bytes:
    """Return the JSON bytes that are signed and sent.

    `data` is finished JSON and goes out as it is; `retry_count` is 0 on the first send.
    """
    return _encode(
        Payload(event_id, event_type, rfc3339(occurred_at), msgspec.Raw(data), retry_count)
    )
