"""The client's tries: what is safe is tried again, when it may help, until the time is used up."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from partner_inventory import (
    ConflictError,
    CursorExpiredError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    PartnerInventory,
    PartnerInventoryError,
    RateLimitedError,
    UnavailableError,
)
from tests.partner_client.scripted import NO_STOCK, Scripted, error

ID = "01a2063f-2f77-7c51-8a40-0b1c2d3e4f50"
LOST = httpx.ReadTimeout("no answer")  # the request may have been done
NOT_MADE = httpx.ConnectError("connection refused")
SINCE = datetime(2026, 11, 22, tzinfo=UTC)


def good() -> httpx.Response:
    return httpx.Response(200, json=NO_STOCK)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "INVALID_REQUEST", InvalidRequestError),
        (401, "UNAUTHORIZED", NotAllowedError),
        (403, "PARTNER_SUSPENDED", NotAllowedError),
        (404, "NOT_FOUND", NotFoundError),
        (405, "METHOD_NOT_ALLOWED", InvalidRequestError),
        (409, "WEBHOOK_EXISTS", ConflictError),
        (410, "CURSOR_EXPIRED", CursorExpiredError),
        (413, "PAYLOAD_TOO_LARGE", InvalidRequestError),
        (418, "NEW_CODE", InvalidRequestError),
    ],
)
def test_what_will_not_pass_is_told_at_once_by_what_to_do(
    status: int, code: str, kind: type[PartnerInventoryError]
) -> None:
    api = Scripted([error(status, code)])
    with pytest.raises(kind) as told:
        api.inventory.stock(["SKU-1"])
    assert type(told.value) is kind
    assert (told.value.status, told.value.code) == (status, code)
    assert (told.value.message, told.value.request_id) == ("words", "r-1")
    assert str(told.value) == f"{status} {code}: words (request r-1)"
    assert len(api.asked) == 1


def test_retry_after_is_waited_for_and_other_pauses_grow() -> None:
    api = Scripted(
        [
            error(429, "RATE_LIMITED", retry_after="7"),
            error(503, "SERVICE_UNAVAILABLE", retry_after="2"),
            error(503, "SERVICE_UNAVAILABLE"),
            error(502, "BAD_GATEWAY"),
            error(504, "GATEWAY_TIMEOUT"),
            error(500, "INTERNAL_ERROR"),
            LOST,
            good(),
        ],
        patience=200,
    )
    assert api.inventory.stock(["SKU-1"]).items == []
    assert api.pauses == [7, 2, 2, 4, 8, 16, 30]  # 0.5 s doubled with each try, 30 s at most


def test_a_pause_is_shorter_by_chance_but_never_by_more_than_half() -> None:
    pauses: list[float] = []
    replies = iter([LOST, good()])

    def reply(request: httpx.Request) -> httpx.Response:
        found = next(replies)
        if isinstance(found, httpx.Response):
            return found
        raise found

    with httpx.Client(transport=httpx.MockTransport(reply)) as http:
        PartnerInventory(
            "http://api", "key", http=http, sleep=pauses.append, chance=lambda: 0.0
        ).stock(["SKU-1"])
    assert pauses == [0.25]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (lambda: error(429, "RATE_LIMITED", retry_after="42"), RateLimitedError),
        (lambda: error(503, "SERVICE_UNAVAILABLE", retry_after="42"), UnavailableError),
    ],
)
def test_a_wait_that_would_take_too_long_is_left_to_the_caller(
    reply: Callable[[], httpx.Response], kind: type[PartnerInventoryError]
) -> None:
    api = Scripted([reply()], patience=41)
    with pytest.raises(kind) as told:
        api.inventory.stock(["SKU-1"])
    assert told.value.retry_after == 42
    assert api.pauses == []


def test_tries_end_when_the_time_is_used_up() -> None:
    api = Scripted([LOST] * 9, patience=10)
    with pytest.raises(UnavailableError) as told:
        api.inventory.stock(["SKU-1"])
    assert (told.value.status, told.value.code) == (None, "NO_ANSWER")
    assert str(told.value) == "NO_ANSWER: POST /partner/v1/inventory: no answer"
    assert api.pauses == [0.5, 1, 2, 4]  # 8 more seconds would be too many


def test_a_try_gets_no_more_time_than_is_left() -> None:
    api = Scripted([error(503, "SERVICE_UNAVAILABLE", retry_after="7"), good()], patience=10)
    api.inventory.stock(["SKU-1"])
    assert [each.extensions["timeout"]["read"] for each in api.asked] == [5.0, 3.0]


def test_without_patience_there_is_one_try_with_all_its_time() -> None:
    api = Scripted([LOST], patience=0)
    with pytest.raises(UnavailableError):
        api.inventory.stock(["SKU-1"])
    assert [each.extensions["timeout"]["read"] for each in api.asked] == [5.0]


def test_headers_of_the_callers_own_go_with_each_request() -> None:
    seen: list[str] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.extend([request.headers["Host"], request.headers["X-API-Key"]])
        return good()

    with httpx.Client(transport=httpx.MockTransport(reply)) as http:
        PartnerInventory("http://here", "key", http=http, headers={"Host": "there"}).stock(["A"])
    assert seen == ["there", "key"]


NOT_REPEATED: list[Callable[[PartnerInventory], object]] = [
    lambda inventory: inventory.ping(ID),
    lambda inventory: inventory.rotate_secret(ID),
    lambda inventory: inventory.retry_delivery(ID, ID),
    lambda inventory: inventory.register_webhook("https://shop.example", ["inventory.updated"]),
    lambda inventory: inventory.replay(ID, SINCE, include_delivered=True),
]


@pytest.mark.parametrize("call", NOT_REPEATED)
@pytest.mark.parametrize(
    "reply", [lambda: LOST, lambda: error(503, "SERVICE_UNAVAILABLE", retry_after="1")]
)
def test_what_could_happen_twice_is_not_sent_again_after_a_lost_answer(
    call: Callable[[PartnerInventory], object],
    reply: Callable[[], httpx.Response | httpx.TransportError],
) -> None:
    api = Scripted([reply()])
    with pytest.raises(UnavailableError):
        call(api.inventory)
    assert len(api.asked) == 1


def test_it_is_sent_again_when_nothing_was_done() -> None:
    pinged = httpx.Response(202, json={"event_id": ID})
    api = Scripted([NOT_MADE, error(429, "RATE_LIMITED", retry_after="3"), pinged])
    assert api.inventory.ping(ID) == ID
    assert api.pauses == [0.5, 3]


def test_a_registration_with_a_secret_and_a_plain_replay_are_sent_again() -> None:
    api = Scripted([LOST, error(409, "WEBHOOK_EXISTS")])
    with pytest.raises(ConflictError):
        api.inventory.register_webhook("https://shop.example", [], secret="x" * 16)
    api = Scripted([LOST, httpx.Response(202, json={"scheduled": 1, "next_since": None})])
    assert api.inventory.replay(ID, SINCE).scheduled == 1


def test_a_deletion_whose_answer_was_lost_is_done_when_there_is_nothing_left_to_delete() -> None:
    api = Scripted([LOST, error(404, "NOT_FOUND")])
    api.inventory.delete_webhook(ID)
    for first in (NOT_MADE, error(429, "RATE_LIMITED", retry_after="1")):
        api = Scripted([first, error(404, "NOT_FOUND")])
        with pytest.raises(NotFoundError):
            api.inventory.delete_webhook(ID)


@pytest.mark.parametrize("status", [200, 302, 502])
@pytest.mark.parametrize("content", [b"<html>", b"[1]", b""])
def test_what_is_not_the_apis_is_no_answer_and_no_crash(status: int, content: bytes) -> None:
    replies = [httpx.Response(status, content=content) for _ in range(5)]
    with pytest.raises(UnavailableError) as told:
        Scripted(replies, patience=1).inventory.stock(["SKU-1"])
    assert (told.value.status, told.value.code) == (status, "UNKNOWN")


def test_any_number_of_ids_goes_in_batches_of_100_and_comes_back_in_its_order() -> None:
    asked: list[list[str]] = []

    def reply(request: httpx.Request) -> httpx.Response:
        assert request.headers["X-API-Key"] == "pk_test_key"
        assert str(request.url) == "https://api.inventory.example/partner/v1/inventory"
        ids: list[str] = json.loads(request.content)["product_ids"]
        asked.append(ids)
        items = [item(each) for each in ids if int(each) % 3]
        answer = {"items": items, "not_found": [each for each in ids if not int(each) % 3]}
        return httpx.Response(200, json=NO_STOCK | answer)

    ids = [str(number) for number in range(250, 0, -1)]
    stock = Scripted().client(reply).stock([*ids, "250"])
    assert [len(each) for each in asked] == [100, 100, 50]
    assert [each.product_id for each in stock.items] == [each for each in ids if int(each) % 3]
    assert stock.not_found == [each for each in ids if not int(each) % 3]


def item(product_id: str, version: int = 1) -> dict[str, str | int]:
    at = "2026-11-22T09:30:41.070022Z"
    rest = {"status": "low_stock", "updated_at": at, "version": version, "newer_field": "ignored"}
    return {"product_id": product_id, "quantity": 9, **rest}


def test_nothing_is_asked_for_no_products() -> None:
    assert Scripted().inventory.stock([]).items == []


def test_an_id_with_a_comma_is_not_split() -> None:
    with pytest.raises(ValueError, match="comma"):
        Scripted().inventory.stock_by_get(["A,B"])


def test_the_limit_is_that_of_the_last_counted_answer() -> None:
    headers = {"RateLimit-Limit": "300", "RateLimit-Remaining": "7", "RateLimit-Reset": "12"}
    api = Scripted([good(), httpx.Response(200, json=NO_STOCK, headers=headers), good()])
    assert api.inventory.limit is None
    for _ in range(3):
        api.inventory.stock(["SKU-1"])
    limit = api.inventory.limit
    assert limit is not None
    assert (limit.requests, limit.remaining, limit.reset) == (300, 7, 12)


def test_pages_are_followed_to_the_last() -> None:
    page: dict[str, Any] = {"items": [], "removed": [], "timestamp": "2026-11-22T09:30:41Z"}
    replies = [page | {"next_cursor": str(n), "has_more": n < 3} for n in (1, 2, 3)]
    api = Scripted([httpx.Response(200, json=each) for each in replies])
    assert [each.next_cursor for each in api.inventory.follow("0+/=", limit=5)] == ["1", "2", "3"]
    assert [each.url.params["cursor"] for each in api.asked] == ["0+/=", "1", "2"]
    assert b"cursor=0%2B" in api.asked[0].url.query

    logs: list[dict[str, Any]] = [{"items": [], "next_cursor": each} for each in ("a", None)]
    api = Scripted([httpx.Response(200, json=each) for each in logs])
    assert list(api.inventory.deliveries(ID, state="exhausted")) == []
    assert [each.url.params.get("cursor") for each in api.asked] == [None, "a"]
    assert {each.url.params["state"] for each in api.asked} == {"exhausted"}


def test_a_replay_goes_on_until_nothing_is_left() -> None:
    later = "2026-11-22T08:41:09.117203Z"
    replies = [{"scheduled": 10_000, "next_since": later}, {"scheduled": 3, "next_since": None}]
    api = Scripted([httpx.Response(202, json=each) for each in replies])
    assert api.inventory.replay_everything(ID, SINCE) == 10_003
    assert json.loads(api.asked[0].content)["since"] == "2026-11-22T00:00:00+00:00"
    assert json.loads(api.asked[1].content)["since"] == "2026-11-22T08:41:09.117203+00:00"


def test_an_http_client_of_the_callers_own_stays_open() -> None:
    with httpx.Client(transport=httpx.MockTransport(lambda _: good())) as http:
        with PartnerInventory("http://api", "key", http=http):
            pass
        assert not http.is_closed
