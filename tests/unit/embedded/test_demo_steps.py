"""The demo's steps against a gateway that answers as it is told."""

from collections.abc import Callable, Iterable, Iterator

import httpx
import pytest

from partner_inventory import UnavailableError
from services.local.demo_steps import (
    Scene,
    StepFailedError,
    hit_limit,
    no_key,
    query_three,
    sync_listing,
    wrong_environment,
)

KEYS = {
    "techmart": {"live": "pk_live_t", "sandbox": "pk_test_t"},
    "demo-basic": {"live": "pk_live_d", "sandbox": "pk_test_d"},
}
NOTHING_FOUND = {"items": [], "not_found": [], "timestamp": "2026-01-01T00:00:00Z"}


def scene(answer: Callable[[httpx.Request], httpx.Response]) -> tuple[Scene, list[str]]:
    said: list[str] = []
    client = httpx.Client(base_url="http://gateway", transport=httpx.MockTransport(answer))
    return Scene(client, KEYS, "postgresql://nowhere", said.append), said


def passed(remaining: int) -> httpx.Response:
    limit = {"Limit": 60, "Remaining": remaining, "Reset": 21}
    headers = {f"RateLimit-{name}": str(value) for name, value in limit.items()}
    return httpx.Response(200, json=NOTHING_FOUND, headers=headers)


def refused(retry_after: str = "21") -> httpx.Response:
    body = {"code": "RATE_LIMITED", "message": "Slow down", "request_id": "r"}
    headers = {"Retry-After": retry_after, "X-Request-ID": "r"}
    return httpx.Response(429, json=body, headers=headers)


def played(answers: Iterable[httpx.Response]) -> list[str]:
    following: Iterator[httpx.Response] = iter(answers)
    stage, said = scene(lambda _: next(following))
    hit_limit(stage)
    return said


def test_a_whole_minute_passes_60() -> None:
    said = played([*map(passed, range(59, -1, -1)), refused()])
    assert said == ["60 of 60 a minute passed, then 429 RATE_LIMITED, Retry-After 21 s"]


def test_a_count_that_was_used_before_is_told() -> None:
    assert played([passed(1), passed(0), refused()])[0].startswith(
        "2 of 60 a minute passed (58 were used before), then 429"
    )
    assert played([refused()])[0].startswith(
        "the 60 of this minute were used up before: none passed, then 429"
    )


def test_the_edge_of_a_minute_is_told() -> None:
    said = played([passed(1), passed(0), *map(passed, range(59, -1, -1)), refused()])
    assert said[0] == "2 passed, then a new minute began and with it a new count"
    assert said[1].startswith("60 of 60 a minute passed, then 429")


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([passed(0)] * 62, "61 requests passed within one minute; 60 may"),
        ([passed(30), refused()], "429 came while 30 of 60 requests were left"),
        ([passed(0), refused("soon")], "the 429's Retry-After is None"),
        ([httpx.Response(200, json=NOTHING_FOUND)], "does not reach its counters"),
        ([httpx.Response(503, text="away")], "503 UNKNOWN"),
    ],
)
def test_a_limit_that_is_not_kept_fails(answers: list[httpx.Response], words: str) -> None:
    with pytest.raises((StepFailedError, UnavailableError), match=words):
        played(answers)


def test_a_wrong_answer_fails_every_step_with_what_was_seen() -> None:
    stage, _ = scene(lambda _: httpx.Response(200, json=NOTHING_FOUND))
    for step, words in (
        (query_three, "asked for .*, got "),
        (sync_listing, "5000 of 5000 products did not come back"),
        (no_key, "expected 401 UNAUTHORIZED, got 200"),
        (wrong_environment, "expected 403 FORBIDDEN, but it was answered"),
    ):
        with pytest.raises(StepFailedError, match=words):
            step(stage)


def test_no_answer_at_all_fails_in_words() -> None:
    def away(request: httpx.Request) -> httpx.Response:
        msg = "connection refused"
        raise httpx.ConnectError(msg, request=request)

    stage, _ = scene(away)
    with pytest.raises(StepFailedError, match="no answer from http://gateway: connection refused"):
        no_key(stage)
