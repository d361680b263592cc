"""A partner, through the gateway, to the service: every answer is held against the contract."""

import json
from typing import Any

import psycopg
import pytest

from services.local.state import StateFolder, database_url
from tests.e2e.conftest import QUERY, SANDBOX_HOST, LocalStack
from tests.product_ids import IDS, lightly_escaped
from tools.waiting import wait_for

JSON = {"Content-Type": "application/json"}
LISTED = "`product_ids[1]`"


def body(**fields: Any) -> bytes:  # noqa: ANN401
    return json.dumps(fields).encode()


def ids(*product_ids: Any) -> bytes:  # noqa: ANN401
    return body(product_ids=list(product_ids))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"product_ids=A", "can't be read as JSON"),
        (b'{"product_ids": ["A"]', "can't be read as JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b'["A"]', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"{}", "`product_ids` is missing"),
        (body(product_ids=None), "`product_ids` must be a list"),
        (body(product_ids="A"), "`product_ids` must be a list"),
        (ids(), "`product_ids` is empty"),
        (ids("A", ""), LISTED),
        (ids("A", "x" * 65), LISTED),
        (ids("A", 7), LISTED),
        (ids("A", None), LISTED),
        (ids("A", ["B"]), LISTED),
        (ids("A", "B\0"), LISTED),
        (ids("A", "B\n"), LISTED),
        (b'{"product_ids": ["A", "\\ud800"]}', "can't be read as JSON"),
        (body(product_ids=["A"], limit=3), "`limit` is not a field"),
        (b"[" * 50_000, "nested too deeply"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_bad_body_is_400_and_the_message_names_what_is_wrong(
    stack: LocalStack, content: bytes, words: str
) -> None:
    with stack.partner(stack.key(partner="qa")) as client:
        answer = client.post(QUERY, content=content, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["code"] == "INVALID_REQUEST"
    assert words in answer.json()["message"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "`product_ids` is missing"),
        ("?product_ids=", "`product_ids` is empty"),
        ("?product_ids=A,,B", LISTED),
        ("?product_ids=A&product_ids=B", "more than once"),
        ("?product_ids=A&limit=1", "`limit` is not a parameter"),
        ("?product_ids=A,B%00", LISTED),
        ("?product_ids=%ff", "not UTF-8"),
    ],
)
def test_a_bad_query_string_is_400_and_the_message_names_what_is_wrong(
    stack: LocalStack, query: str, words: str
) -> None:
    with stack.partner(stack.key(partner="qa")) as client:
        answer = client.get(QUERY + query)
    assert answer.status_code == 400
    assert words in answer.json()["message"]


def test_a_hostile_id_is_the_same_product_through_the_gateway(stack: LocalStack) -> None:
    with stack.partner(stack.key("sandbox", "qa"), host=SANDBOX_HOST) as client:
        expected: list[tuple[str, int]] = []
        for number, product_id in enumerate(IDS):
            if set(product_id) == {"."}:
                continue  # in a path it is no segment, escaped or not: RFC 3986
            path = f"/partner/v1/sandbox/inventory/{lightly_escaped(product_id)}"
            put = client.put(path, json={"quantity": number})
            assert put.status_code == 200, (product_id, put.text)
            expected.append((product_id, number))
        found = client.post(QUERY, json={"product_ids": [each for each, _ in expected]}).json()
    assert [(item["product_id"], item["quantity"]) for item in found["items"]] == expected


def test_101_products_are_too_many_in_either_form(stack: LocalStack) -> None:
    many = [f"P-{number}" for number in range(101)]
    with stack.partner(stack.key(partner="qa")) as client:
        answers = [
            client.post(QUERY, json={"product_ids": many}),
            client.get(QUERY, params={"product_ids": ",".join(many)}),
        ]
    for answer in answers:
        assert answer.status_code == 400
        assert answer.json()["code"] == "BATCH_SIZE_EXCEEDED"
        assert answer.json()["message"] == "Maximum 100 products per request"


def test_what_is_no_fault_is_answered(stack: LocalStack) -> None:
    with stack.partner(stack.key(partner="qa")) as client:
        repeated = client.post(QUERY, json={"product_ids": ["NO-1", "TABLET-00001", "NO-1"]})
        chunked = client.post(QUERY, content=iter([ids("A")[:9], ids("A")[9:]]), headers=JSON)
        spoofed = client.post(
            QUERY,
            json={"product_ids": ["A"]},
            headers={"X-Consumer-Custom-ID": "other:sandbox", "X-Backend-Token": "x"},
        )
        both = client.get(QUERY, params={"product_ids": "TABLET-00001"})
    assert repeated.json()["not_found"] == ["NO-1"]
    assert [item["product_id"] for item in repeated.json()["items"]] == ["TABLET-00001"]
    assert [chunked.status_code, spoofed.status_code] == [200, 200]
    assert both.json()["items"] == repeated.json()["items"]  # Q12


@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("POST", QUERY, {"content": b"A", "headers": {"Content-Type": "text/plain"}}, 415),
        ("POST", QUERY, {"content": ids("A")}, 415),
        ("POST", QUERY, {"content": b"x" * 10_000_000, "headers": JSON}, 413),
        ("PUT", QUERY, {"content": ids("A"), "headers": JSON}, 405),
        ("DELETE", QUERY, {}, 405),
        ("GET", "/partner/v1/unknown", {}, 404),
        ("GET", QUERY + "/", {}, 404),
        ("GET", QUERY + "?product_ids=" + "x" * 9_000, {}, 414),
    ],
    ids=lambda value: str(value)[:30],
)
def test_each_other_mistake_has_its_status(
    stack: LocalStack, method: str, path: str, more: dict[str, Any], status: int
) -> None:
    with stack.partner(stack.key(partner="qa")) as client:
        answer = client.request(method, path, **more)
    assert answer.status_code == status  # its code and message are the document's


def test_an_error_is_found_in_the_services_log_by_its_request_id(stack: LocalStack) -> None:
    state = StateFolder(stack.state_dir)
    record, secrets = state.running(), state.secrets()
    assert record is not None
    assert secrets is not None
    url = database_url(record.ports["postgres"], "live_stock", secrets)
    request_id = "found-in-the-log-1"
    with (
        psycopg.connect(url) as blocker,
        stack.partner(stack.key(partner="qa")) as client,
    ):
        blocker.execute("LOCK TABLE live.products IN ACCESS EXCLUSIVE MODE")
        answer = client.post(
            QUERY, json={"product_ids": ["NEVER-READ"]}, headers={"X-Request-ID": request_id}
        )
    assert answer.status_code == 503
    assert answer.json()["request_id"] == request_id
    wait_for(lambda: request_id in stack.log("query-live"), "its line in the log")
