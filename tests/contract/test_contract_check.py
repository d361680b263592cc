"""Contract: the checker passes what the document allows, and nothing else."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tools.contract.check import default_checker, partner_client
from tools.contract.document import Json

PATH = "/partner/v1/inventory"
RESET = "42"
LIMITS = {
    "RateLimit-Limit": "1000",
    "RateLimit-Remaining": "987",
    "RateLimit-Reset": RESET,
    "X-RateLimit-Limit-Minute": "1000",
    "X-RateLimit-Remaining-Minute": "987",
}
NONE_LEFT = {"RateLimit-Remaining": "0", "X-RateLimit-Remaining-Minute": "0"}


class Answer:
    """A good answer to a query for A, B and C, to be spoiled by a test."""

    def __init__(self) -> None:
        self.method = "POST"
        self.path = PATH
        self.asked: list[str] = ["A", "B", "A", "C"]
        self.sent: dict[str, str] = {}
        self.status = 200
        self.headers = {
            "X-Request-ID": "r-1",
            "Content-Type": "application/json",
            "Cache-Control": "no-store",
            **LIMITS,
        }
        self.body: Any = {
            "items": [item("A", 184, "in_stock"), item("C", 0, "out_of_stock")],
            "not_found": ["B"],
            "timestamp": "2026-11-22T09:31:00.204117Z",
        }

    def turn_into_error(self, status: int, code: str, message: str, **more: str) -> "Answer":
        self.status = status
        self.headers |= {name.replace("_", "-"): value for name, value in more.items()}
        self.body = {"code": code, "message": message, "request_id": "r-1"}
        return self

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()

    def request(self) -> httpx.Request:
        url = f"http://gateway.test{self.path}"
        if self.method == "GET":
            query = {"product_ids": ",".join(self.asked)}
            return httpx.Request("GET", url, params=query, headers=self.sent)
        body = {"product_ids": self.asked}
        return httpx.Request(self.method, url, json=body, headers=self.sent)

    def check(self) -> None:
        default_checker().check(
            httpx.Response(
                self.status, headers=self.headers, content=self.content(), request=self.request()
            )
        )


def item(product_id: str, quantity: int, status: str) -> dict[str, Any]:
    return {
        "product_id": product_id,
        "quantity": quantity,
        "status": status,
        "updated_at": "2026-11-22T09:14:03Z",
        "version": 918273,
    }


def over_the_limit() -> Answer:
    answer = Answer()
    answer.headers |= NONE_LEFT
    message = "Rate limit exceeded: try again after the seconds in Retry-After"
    return answer.turn_into_error(429, "RATE_LIMITED", message, Retry_After=RESET)


def no_key() -> Answer:
    message = "No API key: send it in the X-API-Key header"
    return Answer().turn_into_error(401, "UNAUTHORIZED", message, WWW_Authenticate="Key")


def wrong_method() -> Answer:
    answer = Answer()
    answer.method = "PUT"
    message = "Method not allowed"
    return answer.turn_into_error(405, "METHOD_NOT_ALLOWED", message, Allow="GET, POST")


def unknown_path() -> Answer:
    answer = Answer()
    answer.path = "/partner/v1/prices"
    return answer.turn_into_error(404, "NOT_FOUND", "No such path")


def too_many() -> Answer:
    message = "Maximum 100 products per request"
    answer = Answer().turn_into_error(400, "BATCH_SIZE_EXCEEDED", message)
    answer.asked = ["A"] * 101
    return answer


def by_get() -> Answer:
    answer = Answer()
    answer.method = "GET"
    return answer


def without_counters() -> Answer:
    answer = Answer()
    for name in LIMITS:
        del answer.headers[name]
    return answer


def with_own_request_id() -> Answer:
    answer = Answer()
    answer.sent["X-Request-ID"] = "r-1"
    return answer


def with_replaced_request_id() -> Answer:
    answer = Answer()
    answer.sent["X-Request-ID"] = "not a good one"
    return answer


def with_charset() -> Answer:
    answer = no_key()
    answer.headers["Content-Type"] = "application/json; charset=utf-8"
    return answer


GOOD: list[Callable[[], Answer]] = [
    Answer,
    by_get,
    no_key,
    over_the_limit,
    too_many,
    unknown_path,
    with_charset,
    with_own_request_id,
    with_replaced_request_id,
    without_counters,
    wrong_method,
]


@pytest.mark.parametrize("make", GOOD)
def test_a_good_answer_passes(make: Callable[[], Answer]) -> None:
    make().check()


def put(**fields: Json) -> Callable[[Answer], None]:
    def spoil(answer: Answer) -> None:
        answer.body |= fields

    return spoil


def put_in_item(**fields: Json) -> Callable[[Answer], None]:
    def spoil(answer: Answer) -> None:
        answer.body["items"][0] |= fields

    return spoil


def drop(*path: str | int) -> Callable[[Answer], None]:
    def spoil(answer: Answer) -> None:
        owner = answer.body
        for step in path[:-1]:
            owner = owner[step]
        del owner[path[-1]]

    return spoil


def drop_header(name: str) -> Callable[[Answer], None]:
    def spoil(answer: Answer) -> None:
        del answer.headers[name]

    return spoil


def set_header(name: str, value: str) -> Callable[[Answer], None]:
    def spoil(answer: Answer) -> None:
        answer.headers[name] = value

    return spoil


def change(**attributes: Json) -> Callable[[Answer], None]:
    def spoil(answer: Answer) -> None:
        for name, value in attributes.items():
            setattr(answer, name, value)

    return spoil


def reverse_items(answer: Answer) -> None:
    answer.body["items"].reverse()


# promise: (a good answer, what spoils it, words of the complaint)
SPOILED: dict[str, tuple[Callable[[], Answer], Callable[[Answer], None], str]] = {
    "items missing": (Answer, drop("items"), "'items' is a required property"),
    "not_found missing": (Answer, drop("not_found"), "'not_found' is a required property"),
    "timestamp missing": (Answer, drop("timestamp"), "'timestamp' is a required property"),
    "version missing": (Answer, drop("items", 0, "version"), "'version' is a required property"),
    "extra field": (Answer, put(page=1), "'page' was unexpected"),
    "extra item field": (Answer, put_in_item(price=1), "'price' was unexpected"),
    "wrong status value": (Answer, put_in_item(status="plenty"), "'plenty' is not one of"),
    "status that does not fit": (Answer, put_in_item(quantity=10), "10 units are not in_stock"),
    "negative quantity": (Answer, put_in_item(quantity=-1), "less than the minimum"),
    "quantity as text": (Answer, put_in_item(quantity="184"), "is not of type 'integer'"),
    "quantity as a boolean": (Answer, put_in_item(quantity=True), "is not of type 'integer'"),
    "version over 64 bits": (Answer, put_in_item(version=2**63), "is not a 'int64'"),
    "time with a space": (Answer, put(timestamp="2026-11-22 09:31:00Z"), "not a 'date-time'"),
    "time without offset": (Answer, put_in_item(updated_at="2026-11-22T09:31:00"), "date-time"),
    "time as a number": (Answer, put(timestamp=1763803860), "is not of type 'string'"),
    "items in another order": (Answer, reverse_items, "items answers"),
    "an id not answered": (Answer, put(not_found=[]), "not_found answers"),
    "an id answered twice": (Answer, put(not_found=["B", "B"]), "not_found answers"),
    "another id answered": (Answer, put_in_item(product_id="Z"), "items answers"),
    "GET answered in part": (by_get, put(not_found=[]), "not_found answers"),
    "101 products served": (Answer, change(asked=["A"] * 101), "that the document refuses"),
    "an empty id served": (by_get, change(asked=["A", ""]), "that the document refuses"),
    "not JSON": (Answer, change(body=b"{"), "is not JSON"),
    "a field twice": (Answer, change(body=b'{"items":[],"items":[]}'), "there twice"),
    "empty body": (Answer, change(body=b""), "is not JSON"),
    "null": (Answer, change(body=None), "not of type 'object'"),
    "undocumented status": (Answer, change(status=202), "status 202 is not documented"),
    "204": (Answer, change(status=204), "status 204 is not documented"),
    "redirect": (Answer, change(status=307), "status 307 is not documented"),
    "415 to a GET": (by_get, change(status=415), "status 415 is not documented"),
    "404 on a known path": (unknown_path, change(path=PATH), "status 404 is not documented"),
    "405 to a known method": (wrong_method, change(method="POST"), "status 405 is not doc"),
    "200 to an unknown method": (Answer, change(method="PATCH"), "status 200 is not documented"),
    "200 on an unknown path": (Answer, change(path=f"{PATH}/"), "status 200 is not documented"),
    "405 on an unknown path": (wrong_method, change(path=f"{PATH}/x"), "status 405 is not doc"),
    "wrong content type": (Answer, set_header("Content-Type", "text/html"), "Content-Type"),
    "no content type": (Answer, drop_header("Content-Type"), "Content-Type"),
    "other charset": (Answer, set_header("Content-Type", "application/json;charset=x"), "charset"),
    "no X-Request-ID": (Answer, drop_header("X-Request-ID"), "header X-Request-ID is missing"),
    "two X-Request-ID": (Answer, set_header("X-Request-ID", "r-1, r-2"), "does not match"),
    "another request_id": (no_key, put(request_id="r-2"), "is not the header X-Request-ID"),
    "own id not kept": (Answer, change(sent={"X-Request-ID": "mine"}), "not kept"),
    "bad id kept": (with_replaced_request_id, set_header("X-Request-ID", "not a good one"), "kept"),
    "error without code": (no_key, drop("code"), "'code' is a required property"),
    "error with more": (no_key, put(detail="x"), "'detail' was unexpected"),
    "unknown code": (no_key, put(code="TEAPOT"), "'TEAPOT' is not one of"),
    "code of another status": (no_key, put(code="FORBIDDEN"), "no example of FORBIDDEN"),
    "another message": (no_key, put(message="Unauthorized"), "another message"),
    "another batch message": (too_many, put(message="Too many"), "another message"),
    "401 without WWW-Authenticate": (no_key, drop_header("WWW-Authenticate"), "is missing"),
    "405 without Allow": (wrong_method, drop_header("Allow"), "header Allow is missing"),
    "Allow without POST": (wrong_method, set_header("Allow", "GET"), "Allow lists ['GET']"),
    "429 without Retry-After": (over_the_limit, drop_header("Retry-After"), "is missing"),
    "429 without a limit": (over_the_limit, drop_header("RateLimit-Limit"), "is missing"),
    "Retry-After as a date": (
        over_the_limit,
        set_header("Retry-After", "Sun, 22 Nov 2026 09:32:00 GMT"),
        "Retry-After: $",
    ),
    "429 with requests left": (
        over_the_limit,
        set_header("RateLimit-Remaining", "3"),
        "RateLimit-Remaining: $",
    ),
    "a limit header missing": (Answer, drop_header("RateLimit-Reset"), "some limit headers"),
    "limits that differ": (Answer, set_header("RateLimit-Limit", "60"), "is not the same"),
    "a limit that is no number": (Answer, set_header("RateLimit-Limit", "many"), "RateLimit-Limit"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_answer_is_refused(name: str) -> None:
    make, spoil, complaint = SPOILED[name]
    answer = make()
    spoil(answer)
    with pytest.raises(AssertionError) as refusal:
        answer.check()
    assert complaint in str(refusal.value)


def test_a_complaint_names_the_request_and_shows_the_body() -> None:
    answer = Answer()
    answer.body["items"][0]["quantity"] = -1
    with pytest.raises(AssertionError) as refusal:
        answer.check()
    text = str(refusal.value)
    assert text.startswith(f"POST {PATH} answered 200")
    assert "$.items[0].quantity" in text
    assert '"quantity": -1' in text


def test_answers_of_other_paths_are_left_alone() -> None:
    answer = Answer()
    answer.path, answer.status, answer.body = "/health/live", 204, b""
    answer.check()


def test_an_answer_from_a_socket_is_checked() -> None:
    check = default_checker().check_raw
    good = wrong_method()
    pairs = [*good.headers.items()]
    check("PUT", f"{PATH}?product_ids=A", 405, pairs, good.content())
    with pytest.raises(AssertionError, match="X-Request-ID"):
        check("PUT", PATH, 405, [*pairs, ("X-Request-ID", "r-2")], good.content())


def test_an_answer_to_head_has_headers_and_no_body() -> None:
    check = default_checker().check_raw
    good = wrong_method()
    check("HEAD", PATH, 405, good.headers, b"")
    with pytest.raises(AssertionError, match="must be empty"):
        check("HEAD", PATH, 405, good.headers, good.content())
    with pytest.raises(AssertionError, match="Allow"):
        check("HEAD", PATH, 405, Answer().headers, b"")


def test_the_client_sends_its_key_and_checks_every_answer() -> None:
    answer = Answer()
    seen: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(answer.status, headers=answer.headers, content=answer.content())

    with partner_client(
        "http://127.0.0.1",
        api_key="pk_live_x",
        host="sandbox-api.localhost",
        transport=httpx.MockTransport(serve),
    ) as client:
        assert client.post(PATH, json={"product_ids": answer.asked}).json() == answer.body
        assert seen[0].headers["X-API-Key"] == "pk_live_x"
        assert seen[0].headers["Host"] == "sandbox-api.localhost"
        del answer.body["not_found"]
        with pytest.raises(AssertionError, match="not_found"):
            client.post(PATH, json={"product_ids": answer.asked})
