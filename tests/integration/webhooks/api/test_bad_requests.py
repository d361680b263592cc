"""Bad input gets an error that names its field, and never a 500."""

from typing import Any

import pytest

from services.core.http.bodies import BODY_LIMIT
from tests.integration.webhooks.api.conftest import URL, WEBHOOKS, PartnerClient
from tools.query_process import QueryProcess

GOOD = {"url": URL, "events": ["inventory.updated"]}

REGISTRATIONS: list[tuple[dict[str, Any], str]] = [
    ({}, "`url` is missing"),
    ({"url": URL}, "`events` is missing"),
    ({**GOOD, "color": 1}, "`color` is not a field of this request: send `url`, `events` and"),
    ({**GOOD, "Secret": "x" * 20}, "`Secret` is not a field"),
    ({**GOOD, "url": 1}, "`url` must be a string"),
    ({**GOOD, "url": None}, "`url` must be a string"),
    ({**GOOD, "url": ""}, "`url`: "),
    ({**GOOD, "url": "https://"}, "`url`: "),
    ({**GOOD, "url": "http://shop.example/"}, "`url`: the URL must begin with https://"),
    ({**GOOD, "url": "https://127.0.0.1/"}, "`url`: "),
    ({**GOOD, "url": "https://shop.example:22/"}, "`url`: "),
    ({**GOOD, "url": "https://shop.example/a\x00b"}, "`url`: "),
    ({**GOOD, "url": "https://shop.example/" + "x" * 2048}, "`url`: "),
    ({**GOOD, "events": "inventory.updated"}, "`events` must be a list"),
    ({**GOOD, "events": None}, "`events` must be a list"),
    ({**GOOD, "events": []}, "`events` is empty"),
    ({**GOOD, "events": ["inventory.updated", "price.updated"]}, "`events[1]` must be one of"),
    ({**GOOD, "events": ["webhook.ping"]}, "`events[0]` must be one of"),
    ({**GOOD, "events": [["inventory.updated"]]}, "`events[0]` must be one of"),
    ({**GOOD, "events": [{}]}, "`events[0]` must be one of"),
    ({**GOOD, "secret": 1}, "`secret` must be a string"),
    ({**GOOD, "secret": "short"}, "`secret`: "),
    ({**GOOD, "secret": "x" * 129}, "`secret`: "),
    ({**GOOD, "secret": "whsec_no base64 at all"}, "`secret`: "),
    ({**GOOD, "secret": "whsec_AAAA"}, "`secret`: "),
]

CHANGES: list[tuple[dict[str, Any], str]] = [
    ({}, "The body changes nothing"),
    ({"state": "deleted"}, "`state` must be one of `active` and `disabled`"),
    ({"state": True}, "`state` must be one of"),
    ({"state": ["active"]}, "`state` must be one of"),
    ({"url": None}, "`url` must be a string"),
    ({"url": "ftp://shop.example/"}, "`url`: "),
    ({"events": []}, "`events` is empty"),
    ({"secret": "x" * 20}, "`secret` is not a field"),
    ({"id": "x"}, "`id` is not a field"),
]

ROTATIONS: list[tuple[dict[str, Any], str]] = [
    ({"overlap_hours": -1}, "`overlap_hours` must be a number from 0 to 168"),
    ({"overlap_hours": 168.001}, "`overlap_hours` must be a number"),
    ({"overlap_hours": "24"}, "`overlap_hours` must be a number"),
    ({"overlap_hours": True}, "`overlap_hours` must be a number"),
    ({"overlap_hours": None}, "`overlap_hours` must be a number"),
    ({"secret": "short"}, "`secret`: "),
    ({"overlap": 1}, "`overlap` is not a field"),
]

REPLAYS: list[tuple[dict[str, Any], str]] = [
    ({}, "`since` is missing"),
    ({"since": 1}, "`since` must be a time"),
    ({"since": None}, "`since` must be a time"),
    ({"since": "yesterday"}, "`since` must be a time"),
    ({"since": "2026-11-22"}, "`since` must be a time"),
    ({"since": "2026-11-22T09:14:03"}, "`since` must be a time"),
    ({"since": "2026-13-22T09:14:03Z"}, "`since` must be a time"),
    ({"since": "2026-11-22T09:14:03Z", "include_delivered": 1}, "`include_delivered` must be"),
    ({"since": "2026-11-22T09:14:03Z", "until": 1}, "`until` is not a field"),
]

QUANTITIES: list[tuple[dict[str, Any], str]] = [
    ({}, "`quantity` is missing"),
    ({"quantity": -1}, "`quantity` must be a whole number from 0 to 2147483647"),
    ({"quantity": 2147483648}, "`quantity` must be a whole number"),
    ({"quantity": 1.5}, "`quantity` must be a whole number"),
    ({"quantity": 5.0}, "`quantity` must be a whole number"),
    ({"quantity": "5"}, "`quantity` must be a whole number"),
    ({"quantity": True}, "`quantity` must be a whole number"),
    ({"quantity": None}, "`quantity` must be a whole number"),
    ({"quantity": 5, "product_id": "A"}, "`product_id` is not a field"),
]

SIMULATIONS: list[tuple[dict[str, Any], str]] = [
    ({"attempts": 1}, "`outcome` is missing"),
    ({"outcome": "timeout"}, "`attempts` is missing"),
    ({"outcome": "delivered", "attempts": 1}, "`outcome` must be one of"),
    ({"outcome": "timeout", "attempts": 0}, "`attempts` must be a whole number from 1 to 100"),
    ({"outcome": "timeout", "attempts": 101}, "`attempts` must be a whole number"),
    ({"outcome": "out_of_order", "attempts": 11}, "`attempts` must be a whole number from 1 to 10"),
    ({"outcome": None, "attempts": 1}, "`outcome` must be one of"),
]

BODIES = [
    *(("POST", WEBHOOKS, *case) for case in REGISTRATIONS),
    *(("PATCH", f"{WEBHOOKS}/{{id}}", *case) for case in CHANGES),
    *(("POST", f"{WEBHOOKS}/{{id}}/secret/rotate", *case) for case in ROTATIONS),
    *(("POST", f"{WEBHOOKS}/{{id}}/replay", *case) for case in REPLAYS),
    *(("PUT", "/partner/v1/sandbox/inventory/A", *case) for case in QUANTITIES),
    *(("PUT", "/partner/v1/sandbox/webhooks/{id}/simulation", *case) for case in SIMULATIONS),
]
WITH_BODY = sorted({(method, path) for method, path, _, _ in BODIES})

RAW: list[tuple[bytes, str]] = [
    (b"nonsense", "can't be read as JSON"),
    (b'{"url":"\xff"}', "UTF-8"),
    (b'{"url":"\\ud800"}', "can't be read as JSON"),
    (b"[" * 16_000, "nested too deeply"),
    (b"9" * 5_000, "out of range"),
    (b"[]", "must be a JSON object"),
    (b"null", "must be a JSON object"),
    (b"\xef\xbb\xbf{}", "a byte order mark: send it without"),
    ("{}".encode("utf-16"), "UTF-16 or UTF-32, not UTF-8"),
    ("{}".encode("utf-16-be"), "UTF-16 or UTF-32"),
    ("{}".encode("utf-32-le"), "UTF-16 or UTF-32"),
]


def test_each_bad_body_is_refused_in_words_that_name_the_field(partner: PartnerClient) -> None:
    webhook = partner.register(f"{URL}/registered")
    for method, path, body, words in BODIES:
        answer = partner.http.request(method, path.format(id=webhook["id"]), json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST"), body
        assert words in answer.json()["message"], (body, answer.text)
    del webhook["secret"]
    assert partner.http.get(WEBHOOKS).json() == {"items": [webhook]}


@pytest.mark.parametrize(("content", "words"), RAW)
def test_a_body_that_is_no_json_object_is_refused(
    partner: PartnerClient, content: bytes, words: str
) -> None:
    webhook = partner.register()
    for method, path in WITH_BODY:
        answer = partner.http.request(
            method,
            path.format(id=webhook["id"]),
            content=content,
            headers={"Content-Type": "application/json"},
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
        assert words in answer.json()["message"]


def test_an_empty_body_a_wrong_type_and_a_large_one_are_refused(partner: PartnerClient) -> None:
    path = f"{WEBHOOKS}/{partner.register()['id']}"
    as_json = {"Content-Type": "application/json"}
    for method, each in (("POST", WEBHOOKS), ("PATCH", path), ("POST", f"{path}/replay")):
        empty = partner.http.request(method, each, headers=as_json)
        assert (empty.status_code, "it is empty" in empty.json()["message"]) == (400, True)
        assert partner.http.request(method, each).status_code == 415
        assert partner.http.request(method, each, content=b"{}").status_code == 415
        large = partner.http.request(method, each, content=b" " * (BODY_LIMIT + 1), headers=as_json)
        assert large.status_code == 413
    rotate = f"{path}/secret/rotate"
    assert partner.http.post(rotate, content=b"{}").status_code == 415
    assert partner.http.post(rotate, content=iter([b"{}"])).status_code == 415


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("state=done", "`state` must be one of"),
        ("state=", "`state` must be one of"),
        ("state=pending&state=pending", "`state` is sent more than once"),
        ("limit=0", "`limit` must be a whole number from 1 to 100"),
        ("limit=101", "`limit` must be"),
        ("limit=-1", "`limit` must be"),
        ("limit=1e1", "`limit` must be"),
        ("limit=", "`limit` must be"),
        ("limit=%D9%A5", "`limit` must be"),
        ("limit=" + "9" * 5_000, "`limit` must be"),
        ("cursor=", "`cursor` is none of ours"),
        ("cursor=nonsense", "`cursor` is none of ours"),
        ("cursor=AaIGpFscfD6dCk9ebXyLmw==", "`cursor` is none of ours"),
        ("cursor=%FF", "`cursor` is not UTF-8"),
        ("cursor=%C3%A4", "`cursor` is none of ours"),
        ("page=2", "`page` is not a parameter of this request: send `state`, `limit` and"),
    ],
)
def test_a_bad_parameter_of_the_delivery_log_is_refused(
    partner: PartnerClient, query: str, words: str
) -> None:
    webhook = partner.register()
    answer = partner.http.get(f"{WEBHOOKS}/{webhook['id']}/deliveries?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
    assert words in answer.json()["message"]


@pytest.mark.parametrize(
    "since",
    [
        "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-22T09:14:03.5+05:30",
        "2026-11-22T09:14:03.123456789Z", "2026-11-22t09:14:03z",
    ],
)  # fmt: skip
def test_any_time_of_rfc_3339_is_a_time(
    api: QueryProcess, partner: PartnerClient, since: str
) -> None:
    webhook = partner.register()
    answer = partner.http.post(f"{WEBHOOKS}/{webhook['id']}/replay", json={"since": since})
    assert answer.status_code == 202, answer.text
    assert not api.events("request.failed")
