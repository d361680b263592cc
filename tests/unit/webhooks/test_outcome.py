"""What an attempt's result means: one function decides."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.webhooks.delivery.outcome import (
    Answer,
    AttemptOutcome,
    Decision,
    NoAnswer,
    Verdict,
    decide,
)

NOW = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_2xx_is_delivered(status: int) -> None:
    assert decide(Answer(status, "60"), now=NOW) == Decision(
        Verdict.DELIVERED, AttemptOutcome.DELIVERED, status
    )


def test_a_410_says_that_the_endpoint_is_gone() -> None:
    decision = decide(Answer(410), now=NOW)
    assert (decision.verdict, decision.outcome, decision.status) == (
        Verdict.GONE,
        AttemptOutcome.HTTP_ERROR,
        410,
    )


@pytest.mark.parametrize("status", [101, 400, 401, 404, 429, 500, 503, 599, 999])
def test_every_other_status_is_retried(status: int) -> None:
    assert decide(Answer(status), now=NOW) == Decision(
        Verdict.RETRY, AttemptOutcome.HTTP_ERROR, status
    )


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_an_error_that_says_why(status: int) -> None:
    decision = decide(Answer(status), now=NOW)
    assert decision.verdict is Verdict.RETRY
    assert decision.outcome is AttemptOutcome.HTTP_ERROR
    assert decision.detail == "redirects are not followed"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("3600", 3600),
        ("3601", 3600),
        ("9" * 18, 3600),
        ("9" * 5000, 0),
        ("-5", 0),
        ("1.5", 0),
        ("\u0661\u0662", 0),
        ("soon", 0),
        ("", 0),
        ("Sun, 22 Nov 2026 09:02:00 GMT", 120),
        ("Sunday, 22-Nov-26 09:02:00 GMT", 120),
        ("Sun Nov 22 09:02:00 2026", 120),
        ("Sun, 22 Nov 2026 08:00:00 GMT", 0),
        ("Mon, 23 Nov 2026 09:00:00 GMT", 3600),
        ("Sun, 22 Nov 2026 99:99:99 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
    ],
)
def test_retry_after_is_respected_within_an_hour(
    status: int, retry_after: str, seconds: int
) -> None:
    decision = decide(Answer(status, retry_after), now=NOW)
    assert decision.verdict is Verdict.RETRY
    assert decision.not_before == timedelta(seconds=seconds)


def test_retry_after_counts_for_429_and_503_only() -> None:
    assert decide(Answer(500, "120"), now=NOW).not_before == timedelta(0)


@pytest.mark.parametrize("outcome", AttemptOutcome)
def test_no_answer_is_retried_with_its_reason(outcome: AttemptOutcome) -> None:
    assert decide(NoAnswer(outcome, "why"), now=NOW) == Decision(
        Verdict.RETRY, outcome, detail="why"
    )


@given(st.integers(100, 999), st.none() | st.text(st.characters(max_codepoint=255)))
def test_whatever_a_receiver_says_there_is_a_decision_within_bounds(
    status: int, retry_after: str | None
) -> None:
    decision = decide(Answer(status, retry_after), now=NOW)
    assert timedelta(0) <= decision.not_before <= timedelta(hours=1)
