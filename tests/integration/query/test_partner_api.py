"""The partners' query over HTTP: what it answers, and what it refuses (Q1-Q5, Q12, A5, A7)."""

import concurrent.futures
import gzip
import json
import re
import socket
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.core.environments import Environment
from services.domain.stock import stock_status
from services.schema.seed import products
from tools.query_process import BACKEND_TOKEN, CREDENTIAL_ID, QueryProcess

INVENTORY = "/partner/v1/inventory"
STOCK = dict(products(Environment.LIVE))
IDS = list(STOCK)
JSON = {"Content-Type": "application/json"}
JSON_UTF_16 = "application/json; charset=utf-16"


def ask(partner: QueryProcess, product_ids: list[str]) -> dict[str, Any]:
    with partner.client() as client:
        response = client.post(INVENTORY, json={"product_ids": product_ids})
    assert response.status_code == 200, response.text
    return response.json()


def test_a_batch_of_100_is_answered_in_its_order_with_the_stock_of_each(
    partner: QueryProcess,
) -> None:
    asked = IDS[300:200:-1]
    for _ in range(2):  # from the database, then from the cache
        answer = ask(partner, asked)
        assert [item["product_id"] for item in answer["items"]] == asked
        assert [item["quantity"] for item in answer["items"]] == [STOCK[each] for each in asked]
        statuses = [stock_status(STOCK[each]) for each in asked]
        assert [item["status"] for item in answer["items"]] == statuses
        assert answer["not_found"] == []


def test_times_are_rfc_3339_in_utc_with_microseconds(partner: QueryProcess) -> None:
    answer = ask(partner, IDS[:1])
    form = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
    times = [answer["timestamp"], answer["items"][0]["updated_at"]]
    assert all(form.fullmatch(time) for time in times)
    now = datetime.now(UTC)
    assert now - timedelta(seconds=10) < datetime.fromisoformat(times[0]) <= now


def test_unknown_products_come_back_in_not_found_in_the_order_of_the_request(
    partner: QueryProcess,
) -> None:
    for _ in range(2):
        answer = ask(partner, ["no-b", IDS[1], "no-a", IDS[0], "no-c"])
        assert [item["product_id"] for item in answer["items"]] == [IDS[1], IDS[0]]
        assert answer["not_found"] == ["no-b", "no-a", "no-c"]


def test_a_duplicate_is_answered_once_at_its_first_place(partner: QueryProcess) -> None:
    answer = ask(partner, [IDS[2], "no", IDS[1], IDS[2], "no", IDS[1]])
    assert [item["product_id"] for item in answer["items"]] == [IDS[2], IDS[1]]
    assert answer["not_found"] == ["no"]


def test_ids_of_any_script_and_odd_signs_are_ids_like_others(partner: QueryProcess) -> None:
    odd = [
        "Kühl schrank",
        "冷蔵庫",
        "\U0001f4a1" * 64,
        "'; --",
        "a:b{c}*?",
        '"\\',
        "%41",
        "a\u2028b",
    ]
    assert ask(partner, odd)["not_found"] == odd
    assert ask(partner, odd)["not_found"] == odd


def test_get_answers_the_same_as_post(partner: QueryProcess) -> None:
    asked = [IDS[7], "unknown", IDS[5]]
    with partner.client() as client:
        got = client.get(INVENTORY, params={"product_ids": ",".join(asked)}).json()
    posted = ask(partner, asked)
    assert {**got, "timestamp": None} == {**posted, "timestamp": None}


def test_100_ids_of_the_largest_size_fit_into_a_body_with_everything_escaped(
    partner: QueryProcess,
) -> None:
    asked = ["\U0001f4a1" * 61 + f"{number:03}" for number in range(100)]
    content = json.dumps({"product_ids": asked}).encode()
    assert len(content) > 73_000
    with partner.client(extra=JSON) as client:
        response = client.post(INVENTORY, content=content)
    assert response.json()["not_found"] == asked


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8",
                                          'Application/JSON;charset="UTF-8"'])  # fmt: skip
def test_json_may_name_its_charset(partner: QueryProcess, content_type: str) -> None:
    with partner.client(extra={"Content-Type": content_type}) as client:
        assert client.post(INVENTORY, content=b'{"product_ids":["A"]}').status_code == 200


def test_a_chunked_body_is_read_like_any_other(partner: QueryProcess) -> None:
    with partner.client(extra=JSON) as client:
        chunks = (bytes([byte]) for byte in b'{"product_ids":["A"]}')
        assert client.post(INVENTORY, content=chunks).status_code == 200


BAD_REQUESTS: list[tuple[str, dict[str, Any], int, str, str]] = [
    ("not json", {"content": b"nonsense"}, 400, "INVALID_REQUEST", "The body can't be read"),
    ("not utf-8", {"content": b'{"product_ids":["\xff"]}'}, 400, "INVALID_REQUEST", "UTF-8"),
    ("lone surrogate", {"content": b'{"product_ids":["\\ud800"]}'}, 400, "INVALID_REQUEST", "body"),
    ("deep", {"content": b"[" * 60_000}, 400, "INVALID_REQUEST", "nested"),
    ("huge number", {"content": b"9" * 60_000}, 400, "INVALID_REQUEST", "body"),
    ("not an object", {"json": []}, 400, "INVALID_REQUEST", "object"),
    ("no product_ids", {"json": {}}, 400, "INVALID_REQUEST", "`product_ids` is missing"),
    ("empty list", {"json": {"product_ids": []}}, 400, "INVALID_REQUEST", "`product_ids` is empty"),
    ("not a string", {"json": {"product_ids": ["A", 1]}}, 400, "INVALID_REQUEST", "product_ids[1]"),
    ("empty id", {"json": {"product_ids": ["A", ""]}}, 400, "INVALID_REQUEST", "product_ids[1]"),
    ("long id", {"json": {"product_ids": ["x" * 65]}}, 400, "INVALID_REQUEST", "product_ids[0]"),
    ("nul", {"json": {"product_ids": ["a\0b"]}}, 400, "INVALID_REQUEST", "product_ids[0]"),
    ("control", {"json": {"product_ids": ["a\x85b"]}}, 400, "INVALID_REQUEST", "product_ids[0]"),
    ("unknown field", {"json": {"product_ids": ["A"], "x": 1}}, 400, "INVALID_REQUEST", "`x`"),
    ("101", {"json": {"product_ids": IDS[:101]}}, 400, "BATCH_SIZE_EXCEEDED",
     "Maximum 100 products per request"),
    ("101 times one", {"json": {"product_ids": ["A"] * 101}}, 400, "BATCH_SIZE_EXCEEDED",
     "Maximum 100 products per request"),
    ("form", {"data": {"product_ids": "A"}}, 415, "UNSUPPORTED_MEDIA_TYPE", "application/json"),
    ("other charset", {"content": b"{}", "headers": {"Content-Type": JSON_UTF_16}}, 415,
     "UNSUPPORTED_MEDIA_TYPE", "application/json"),
    ("gzip", {"content": gzip.compress(b"{}"), "headers": {**JSON, "Content-Encoding": "gzip"}},
     415, "UNSUPPORTED_MEDIA_TYPE", "The Content-Encoding `gzip` is not supported"),
    ("byte order mark", {"content": b"\xef\xbb\xbf{}"}, 400, "INVALID_REQUEST", "byte order mark"),
    ("utf-16", {"content": "{}".encode("utf-16")}, 400, "INVALID_REQUEST", "UTF-16"),
    ("empty", {"content": b""}, 400, "INVALID_REQUEST", "it is empty"),
    ("no type", {"content": b'{"product_ids":["A"]}', "headers": {"Content-Type": ""}}, 415,
     "UNSUPPORTED_MEDIA_TYPE", "application/json"),
    ("10 MB", {"content": b"x" * 10_000_000}, 413, "PAYLOAD_TOO_LARGE", "too large"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_parts", "status", "code", "words"),
    [case[1:] for case in BAD_REQUESTS],
    ids=[case[0] for case in BAD_REQUESTS],
)
def test_bad_input_gets_its_error_and_never_a_500(
    partner: QueryProcess, request_parts: dict[str, Any], status: int, code: str, words: str
) -> None:
    if "content" in request_parts:
        request_parts = {"headers": JSON, **request_parts}
    with partner.client() as client:
        response = client.post(INVENTORY, **request_parts)
        assert (response.status_code, response.json()["code"]) == (status, code)
        assert words in response.json()["message"]
        assert client.post(INVENTORY, json={"product_ids": ["A"]}).status_code == 200


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "INVALID_REQUEST"),
        ("?product_ids=", "INVALID_REQUEST"),
        ("?product_ids=A,,B", "INVALID_REQUEST"),
        ("?product_ids=A&product_ids=B", "INVALID_REQUEST"),
        ("?product_ids=A&page=1", "INVALID_REQUEST"),
        ("?product_ids=A%00", "INVALID_REQUEST"),
        ("?product_ids=%FF", "INVALID_REQUEST"),
        ("?product_ids=" + ",".join("A" * 101), "BATCH_SIZE_EXCEEDED"),
    ],
)
def test_a_bad_query_string_is_a_400(partner: QueryProcess, query: str, code: str) -> None:
    with partner.client() as client:
        response = client.get(INVENTORY + query)
    assert (response.status_code, response.json()["code"]) == (400, code)


def test_a_large_chunked_body_is_refused_before_its_end(partner: QueryProcess) -> None:
    head = f"POST {INVENTORY} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += f"X-Backend-Token: {BACKEND_TOKEN}\r\nX-Consumer-Custom-ID: techmart:live\r\n"
    head += f"X-Credential-Identifier: {CREDENTIAL_ID}\r\n"
    head += "Transfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", partner.port), timeout=5) as connection:
        connection.sendall(head.encode())
        connection.sendall((b"4000\r\n" + b" " * 0x4000 + b"\r\n") * 10)  # 160 kB and no end
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_other_methods_are_refused_and_the_right_ones_listed(
    partner: QueryProcess, method: str
) -> None:
    with partner.client() as client:
        response = client.request(method, INVENTORY)
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, POST"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/partner/v1",
        "/partner/v1/inventory/",
        "/partner/v1/inventory/x",
        "/api/v1/products/A/stock",
    ],
)
def test_unknown_paths_are_404_in_the_one_shape(partner: QueryProcess, path: str) -> None:
    with partner.client() as client:
        response = client.get(path)
    assert response.status_code == 404
    assert response.json().keys() == {"code", "message", "request_id"}
    assert response.json()["code"] == "NOT_FOUND"


def test_a_good_request_id_is_kept_and_any_other_replaced(partner: QueryProcess) -> None:
    good = ["a", "My-id_1.2", "x" * 64]
    bad = ["", "a b", "x" * 65, 'a"b', "ä".encode("latin-1").decode("latin-1"), "a,b"]
    with partner.client() as client:
        for given in good:
            headers = {"X-Request-ID": given}
            assert client.get(INVENTORY, headers=headers).json()["request_id"] == given
        for given in bad:
            headers = [(b"X-Request-ID", given.encode("latin-1"))]
            made = client.get(INVENTORY, headers=headers).json()["request_id"]
            assert str(uuid.UUID(made)) == made


REFUSED_HEADERS: list[tuple[str, dict[str, Any]]] = [
    ("no token", {"token": None}),
    ("wrong token", {"token": BACKEND_TOKEN[:-1] + "x"}),
    ("token too short", {"token": BACKEND_TOKEN[:-1]}),
    ("empty token", {"token": ""}),
    ("odd token", {"extra": {"X-Backend-Token": "ä"}, "token": None}),
    ("anonymous", {"extra": {"X-Anonymous-Consumer": "true"}}),
    ("no consumer", {"consumer": None}),
    ("empty consumer", {"consumer": ""}),
    ("no credential", {"credential": None}),
    ("empty credential", {"credential": ""}),
    ("other environment", {"consumer": None,
                           "extra": {"X-Consumer-Custom-ID": "techmart:sandbox"}}),
    ("no environment", {"consumer": None, "extra": {"X-Consumer-Custom-ID": "techmart"}}),
    ("other ending", {"consumer": None, "extra": {"X-Consumer-Custom-ID": "techmart:xlive"}}),
]  # fmt: skip


@pytest.mark.parametrize(
    "as_sent", [case[1] for case in REFUSED_HEADERS], ids=[case[0] for case in REFUSED_HEADERS]
)
def test_a_request_that_the_gateway_did_not_vouch_for_is_refused(
    partner: QueryProcess, as_sent: dict[str, Any]
) -> None:
    # Not held against the contract: partners, behind the gateway, never get this answer.
    extra = {name: value.encode() for name, value in as_sent.get("extra", {}).items()}
    with partner.client(check=False, **{**as_sent, "extra": None}) as client:
        response = client.post(INVENTORY, json={"product_ids": ["A"]}, headers=extra)
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").status_code == 200
    assert (response.status_code, response.json()["code"]) == (403, "FORBIDDEN")
    assert response.json()["request_id"] == response.headers["X-Request-ID"]


def test_health_tells_of_each_dependency(partner: QueryProcess) -> None:
    with httpx.Client(base_url=partner.base_url, trust_env=False) as client:
        assert client.get("/health/live").json() == {"status": "live"}
        assert client.get("/health/ready").json() == {
            "status": "ready",
            "dependencies": {"postgresql": "up", "valkey": "up"},
        }


def test_the_answer_says_nothing_of_the_server_behind_it(partner: QueryProcess) -> None:
    with partner.client() as client:
        response = client.get(INVENTORY, params={"product_ids": "A"})
    assert "server" not in response.headers
    assert response.headers["Content-Type"] == "application/json"


def test_many_callers_at_once_each_get_their_own_answer(partner: QueryProcess) -> None:
    batches = [IDS[start : start + 100] for start in range(0, 5_000, 100)]
    with partner.client() as client, concurrent.futures.ThreadPoolExecutor(8) as callers:
        asked = [
            callers.submit(client.post, INVENTORY, json={"product_ids": batch}) for batch in batches
        ]
        found = [item for each in asked for item in each.result().json()["items"]]
    assert {item["product_id"]: item["quantity"] for item in found} == STOCK


def test_nothing_unexpected_was_logged(partner: QueryProcess) -> None:
    """Last in this module on purpose: what the tests above sent is no fault of ours."""
    with partner.client() as client:
        client.post(INVENTORY, json={"product_ids": ["A"]})
    assert json.dumps(partner.events("request.failed")) == "[]"
