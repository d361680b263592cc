"""Answers: rows as partners read them, in the order of the contract's fields."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.core.timestamps import rfc3339
from services.webhooks.api.requests import cursor_after
from services.webhooks.delivery.outcome import AttemptOutcome

encode = msgspec.json.Encoder().encode


class WebhookRow(msgspec.Struct, frozen=True):
    """An endpoint as it is read for its partner."""

    id: UUID
    url: str
    events: list[str]
    state: str
    disabled_reason: str | None
    created_at: datetime
    failing_since: datetime | None
    previous_secret_until: datetime | None


class DeliveryRow(msgspec.Struct, frozen=True):
    """A delivery with its event and attempts as they are read."""

    event_id: UUID
    event_type: str
    product_id: str | None
    version: int | None
    occurred_at: datetime
    state: str
    series: int
    attempts: list[dict[str, Any]]  # of AttemptRow's fields, in the order in which they were made
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None


class AttemptRow(msgspec.Struct, frozen=True):
    """An attempt as the database writes it into JSON."""

    series: int
    number: int
    outcome: AttemptOutcome
    status: int | None
    detail: str
    started_at: datetime
    duration_ms: int


def webhook(row: WebhookRow) -> dict[str, Any]:
    """Return a webhook without its secret."""
    return _with_times(row)


def delivery(row: DeliveryRow) -> dict[str, Any]:
    """Return a delivery with its attempts."""
    attempts = msgspec.convert(row.attempts, list[AttemptRow])
    return {**_with_times(row), "attempts": [_with_times(attempt) for attempt in attempts]}


def delivery_page(rows: list[DeliveryRow], limit: int) -> dict[str, Any]:
    """Return a page of at most `limit` deliveries; one more row says that there is a next page."""
    page = rows[:limit]
    more = len(rows) > limit
    return {
        "items": [delivery(row) for row in page],
        "next_cursor": cursor_after(page[-1].event_id) if more else None,
    }


def time_or_none(when: datetime | None) -> str | None:
    """Return a time as partners read it, if there is one."""
    return None if when is None else rfc3339(when)


def _with_times(row: msgspec.Struct) -> dict[str, Any]:
    return {
        name: rfc3339(value) if isinstance(value, datetime) else value
        for name, value in msgspec.structs.asdict(row).items()
    }
