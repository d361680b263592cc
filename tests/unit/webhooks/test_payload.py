"""The body of a webhook (W4)."""

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

from services.domain.stock import item_json
from services.webhooks.delivery.payload import render_payload

EVENT_ID = UUID("0199a1b2-0000-7000-8000-0123456789ab")
AT = datetime(2026, 11, 22, 9, 14, 3, 512804, UTC)


def test_the_payload_is_as_the_contract_writes_it() -> None:
    body = render_payload(
        event_id=EVENT_ID,
        event_type="inventory.low_stock",
        occurred_at=AT.astimezone(timezone(timedelta(hours=2))),
        data=item_json("TM-1", 9, AT, 12).decode(),
        retry_count=3,
    )
    assert body == (
        b'{"event_id":"0199a1b2-0000-7000-8000-0123456789ab","event_type":"inventory.low_stock",'
        b'"timestamp":"2026-11-22T09:14:03.512804Z","data":{"product_id":"TM-1","quantity":9,'
        b'"status":"low_stock","updated_at":"2026-11-22T09:14:03.512804Z","version":12},'
        b'"retry_count":3}'
    )


def test_data_in_any_script_stays_as_it_was() -> None:
    data = '{"product_id":"Gr\\u00f6\\u00dfe \U0001f4e6 Größe"}'
    body = render_payload(
        event_id=EVENT_ID, event_type="inventory.updated", occurred_at=AT, data=data, retry_count=0
    )
    assert data.encode() in body
    assert json.loads(body)["data"] == json.loads(data)
