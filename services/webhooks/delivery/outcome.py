"""Outcome: what became of one attempt; one function decides."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

import msgspec

from services.webhooks.faults import FaultStep


class AttemptOutcome(StrEnum):
    """How an attempt ended; the schema's check lists the same."""

    DELIVERED = "delivered"
    HTTP_ERROR = "http_error"
    TIMEOUT = "timeout"
    CONNECTION_FAILED = "connection_failed"
    BAD_ANSWER = "bad_answer"
    TLS_FAILED = "tls_failed"
    NAME_NOT_RESOLVED = "name_not_resolved"
    REFUSED_TARGET = "refused_target"
    UNKNOWN = "unknown"  # of releases that took a lapsed lease for an attempt; new ones have none


class Answer(msgspec.Struct, frozen=True):
    """A receiver answered with a status."""

    status: int
    retry_after: str | None = None  # the header as it came


class NoAnswer(msgspec.Struct, frozen=True):
    """There was no status; `detail` is one line for the delivery log."""

    outcome: AttemptOutcome
    detail: str


class NotSent(msgspec.Struct, frozen=True):
    """We failed before the first byte went out: the receiver knows nothing of this attempt."""

    step: FaultStep
    cause: Exception


class InDoubt(msgspec.Struct, frozen=True):
    """We failed after the first byte went out: nobody knows whether the webhook arrived."""

    step: FaultStep
    cause: Exception


Fault = NotSent | InDoubt


class Verdict(StrEnum):
    """What happens to the delivery next."""

    DELIVERED = "delivered"
    RETRY = "retry"  # or exhausted, when it was the last attempt
    GONE = "gone"  # 410: the endpoint is disabled


class Decision(msgspec.Struct, frozen=True):
    """What is recorded of an attempt."""

    verdict: Verdict
    outcome: AttemptOutcome
    status: int | None = None
    detail: str = ""
    not_before: timedelta = timedelta(0)  # Retry-After, within bounds


LONGEST_RETRY_AFTER = timedelta(hours=1)  # a receiver cannot put its deliveries off for longer
RETRY_AFTER_SECONDS = re.compile(r"[0-9]{1,18}")
LONGEST_DATE = 64  # characters; an HTTP-date has 29


def decide(result: Answer | NoAnswer, *, now: datetime) -> Decision:
    """Return what an attempt's result means for the delivery; the one place that knows.

    `now` is an aware time; a Retry-After that names a date is relative to it.
    """
    if isinstance(result, NoAnswer):
        return Decision(Verdict.RETRY, result.outcome, detail=result.detail)
    status = result.status
    if 200 <= status < 300:
        return Decision(Verdict.DELIVERED, AttemptOutcome.DELIVERED, status)
    if status == 410:
        return Decision(
            Verdict.GONE, AttemptOutcome.HTTP_ERROR, status, "the receiver says it is gone for good"
        )
    not_before = timedelta(0)
    if status in {429, 503} and result.retry_after is not None:
        not_before = _retry_after(result.retry_after, now)
    detail = "redirects are not followed" if 300 <= status < 400 else ""
    return Decision(Verdict.RETRY, AttemptOutcome.HTTP_ERROR, status, detail, not_before)


def _retry_after(given: str, now: datetime) -> timedelta:
    """Read seconds or an HTTP-date; nonsense is 0."""
    given = given.strip()
    if RETRY_AFTER_SECONDS.fullmatch(given):
        wait = timedelta(seconds=min(int(given), LONGEST_RETRY_AFTER.total_seconds()))
    else:
        wait = (_http_date(given) or now) - now
    return min(max(wait, timedelta(0)), LONGEST_RETRY_AFTER)


def _http_date(given: str) -> datetime | None:
    if len(given) > LONGEST_DATE:
        return None
    try:
        when = parsedate_to_datetime(given)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
