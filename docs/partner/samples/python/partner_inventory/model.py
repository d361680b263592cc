"""Model: what the API answers and sends. Fields that are not known here are ignored."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Item:
    """One product's stock."""

    product_id: str
    quantity: int  # units that can be sold now
    status: str  # in_stock (more than 10), low_stock (1 to 10), out_of_stock (0)
    updated_at: datetime  # when this product's stock last changed
    version: int  # of two items of one product, the one with the higher version is newer

    @classmethod
    def of(cls, found: Json) -> Self:
        """Read it from JSON."""
        return cls(
            found["product_id"],
            found["quantity"],
            found["status"],
            datetime.fromisoformat(found["updated_at"]),
            found["version"],
        )


@dataclass(frozen=True, slots=True)
class Removed:
    """A product that we no longer have."""

    product_id: str
    version: int  # higher than that of each item before, lower than that of one that comes back

    @classmethod
    def of(cls, found: Json) -> Self:
        """Read it from JSON."""
        return cls(found["product_id"], found["version"])


@dataclass(frozen=True, slots=True)
class Stock:
    """What you asked for, in the order in which you asked."""

    items: list[Item]
    not_found: list[str]  # ids that we do not know; not the same as sold out


@dataclass(frozen=True, slots=True)
class Changes:
    """One page of what has changed."""

    items: list[Item]
    removed: list[Removed]
    next_cursor: str  # for the next page or the next time; never absent
    has_more: bool  # true: ask again at once, also when this page is empty
    timestamp: datetime  # of this answer

    @classmethod
    def of(cls, found: Json) -> Self:
        """Read it from JSON."""
        return cls(
            [Item.of(each) for each in found["items"]],
            [Removed.of(each) for each in found["removed"]],
            found["next_cursor"],
            found["has_more"],
            datetime.fromisoformat(found["timestamp"]),
        )


@dataclass(frozen=True, slots=True)
class Webhook:
    """A url of yours that is called."""

    id: str
    url: str
    events: list[str]
    state: str  # active or disabled
    disabled_reason: str | None  # by_partner, by_operator, gone, failing; new ones may come
    created_at: datetime
    failing_since: datetime | None  # the first failed attempt since the last success
    previous_secret_until: datetime | None  # until then the secret before the last one is valid too

    @classmethod
    def of(cls, found: Json) -> Self:
        """Read it from JSON."""
        return cls(
            found["id"],
            found["url"],
            found["events"],
            found["state"],
            found["disabled_reason"],
            datetime.fromisoformat(found["created_at"]),
            _time(found["failing_since"]),
            _time(found["previous_secret_until"]),
        )


@dataclass(frozen=True, slots=True)
class RegisteredWebhook:
    """A new webhook, and its secret, which is shown this once."""

    webhook: Webhook
    secret: str

    @classmethod
    def of(cls, found: Json) -> Self:
        """Read it from JSON."""
        return cls(Webhook.of(found), found["secret"])


@dataclass(frozen=True, slots=True)
class RotatedSecret:
    """The new secret, and how long the old one stays valid; None: it is not."""

    secret: str
    previous_secret_until: datetime | None

    @classmethod
    def of(cls, found: Json) -> Self:
        """Read it from JSON."""
        return cls(found["secret"], _time(found["previous_secret_until"]))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call to your url, and what became of it."""

    series: int
    number: int  # 1 for the first of its series
    outcome: str  # delivered, http_error, timeout, ...; new ones may come
    status: int | None  # of your server, when there was one
    detail: str
    started_at: datetime
    duration_ms: int

    @classmethod
    def of(cls, found: Json) -> Self:
        """Read it from JSON."""
        return cls(
            found["series"],
            found["number"],
            found["outcome"],
            found["status"],
            found["detail"],
            datetime.fromisoformat(found["started_at"]),
            found["duration_ms"],
        )


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one webhook, with all its attempts, oldest first."""

    event_id: str
    event_type: str
    product_id: str | None  # None for a ping, as version is
    version: int | None
    occurred_at: datetime
    state: str  # pending, sending, retrying, delivered, exhausted, cancelled
    series: int  # 1, and one more for each retry or replay
    attempts: list[Attempt]
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, found: Json) -> Self:
        """Read it from JSON."""
        return cls(
            found["event_id"],
            found["event_type"],
            found["product_id"],
            found["version"],
            datetime.fromisoformat(found["occurred_at"]),
            found["state"],
            found["series"],
            [Attempt.of(each) for each in found["attempts"]],
            _time(found["next_attempt_at"]),
            datetime.fromisoformat(found["created_at"]),
            _time(found["finished_at"]),
        )


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """One page of a delivery log, newest event first."""

    items: list[Delivery]
    next_cursor: str | None  # None on the last page

    @classmethod
    def of(cls, found: Json) -> Self:
        """Read it from JSON."""
        return cls([Delivery.of(each) for each in found["items"]], found["next_cursor"])


@dataclass(frozen=True, slots=True)
class Replay:
    """How many events are sent again."""

    scheduled: int
    next_since: datetime | None  # not None: send it as `since` to go on

    @classmethod
    def of(cls, found: Json) -> Self:
        """Read it from JSON."""
        return cls(found["scheduled"], _time(found["next_since"]))


@dataclass(frozen=True, slots=True)
class Simulation:
    """What the next attempts of a sandbox webhook look like."""

    outcome: str  # timeout, server_error, duplicate, out_of_order
    attempts: int


@dataclass(frozen=True, slots=True)
class Limit:
    """What the last counted answer said of your limit."""

    requests: int  # in a minute
    remaining: int  # in this one
    reset: int  # seconds until the next minute begins


@dataclass(frozen=True, slots=True)
class Event:
    """What we send to your url."""

    event_id: str  # the idempotency key: the same in every attempt and replay
    event_type: str  # new types may come
    timestamp: datetime
    retry_count: int  # 0 in the first attempt
    item: Item | None  # None if it is not about stock, as a ping
    data: Json  # as it came

    @classmethod
    def of(cls, found: Json) -> Self:
        """Read it from JSON."""
        data: Json = found["data"]
        about_stock = data.keys() >= {"product_id", "quantity", "status", "updated_at", "version"}
        return cls(
            found["event_id"],
            found["event_type"],
            datetime.fromisoformat(found["timestamp"]),
            found["retry_count"],
            Item.of(data) if about_stock else None,
            data,
        )


def _time(found: str | None) -> datetime | None:
    return None if found is None else datetime.fromisoformat(found)
