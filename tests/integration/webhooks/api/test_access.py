"""Whom the api answers: the gateway, an active partner, and each only about its own (A7, W2)."""

import socket
from pathlib import Path
from uuid import uuid4

import pytest

from services.core.environments import Environment
from services.local.valkey import RunningValkey
from tests.conftest import Database
from tests.integration.webhooks.api.conftest import WEBHOOKS, PartnerClient
from tests.webhook_rows import WebhookRows, connect_owner
from tests.webhooks_process import running_api, settings_for
from tools.query_process import BACKEND_TOKEN, CREDENTIAL_ID, QueryProcess

SANDBOX = "/partner/v1/sandbox"
INVENTORY = f"{SANDBOX}/inventory/A"

# Every operation on a webhook, with a body that it takes.
OPERATIONS: list[tuple[str, str, dict[str, object] | None]] = [
    ("GET", "", None),
    ("PATCH", "", {"state": "disabled"}),
    ("POST", "/ping", None),
    ("POST", "/secret/rotate", {}),
    ("DELETE", "/secret/previous", None),
    ("GET", "/deliveries", None),
    ("GET", "/deliveries/{event}", None),
    ("POST", "/deliveries/{event}/retry", None),
    ("POST", "/replay", {"since": "2026-01-01T00:00:00Z"}),
    ("DELETE", "", None),
    ("PUT", "simulation", {"outcome": "timeout", "attempts": 1}),
    ("DELETE", "simulation", None),
]

MALFORMED = [
    "x", "1", "None", "01a2063f2f777c518a400b1c2d3e4f50", "{01a2063f-2f77-7c51-8a40-0b1c2d3e4f50}",
    "urn:uuid:01a2063f-2f77-7c51-8a40-0b1c2d3e4f50", "01a2063f-2f77-7c51-8a40-0b1c2d3e4f50%00",
    "%2F", "' OR 1=1 --", "01a2063f-2f77-7c51-8a40-0b1c2d3e4f5", "x" * 5000,
]  # fmt: skip


# No text, so that it can be nobody's id: the guard of paths refuses it.
NO_TEXT = ["%FF", "%", "%ED%A0%80"]


def path_of(webhook_id: str, rest: str, event_id: str) -> str:
    if rest == "simulation":
        return f"{SANDBOX}/webhooks/{webhook_id}/simulation"
    return f"{WEBHOOKS}/{webhook_id}{rest.format(event=event_id)}"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each[0]} {each[1]}")
def test_another_partners_webhook_is_404_and_is_not_touched(
    partner: PartnerClient,
    rival: PartnerClient,
    rows: WebhookRows,
    operation: tuple[str, str, dict[str, object] | None],
) -> None:
    method, rest, body = operation
    webhook = rival.register()
    event_id = str(rows.delivery(webhook["id"]))
    tables = (
        "SELECT endpoints::text FROM {env}.endpoints ORDER BY 1",
        "SELECT deliveries::text FROM {env}.deliveries ORDER BY 1",
    )
    before = [rows.run(table) for table in tables]
    answer = partner.http.request(method, path_of(webhook["id"], rest, event_id), json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    unknown = partner.http.request(method, path_of(str(uuid4()), rest, event_id), json=body)
    assert {**answer.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}
    assert [rows.run(table) for table in tables] == before


@pytest.mark.parametrize(("method", "rest", "body"), OPERATIONS)
def test_a_malformed_id_is_404(
    partner: PartnerClient, method: str, rest: str, body: dict[str, object] | None
) -> None:
    for webhook_id in MALFORMED:
        answer = partner.http.request(method, path_of(webhook_id, rest, "x"), json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND"), webhook_id
    for webhook_id in NO_TEXT:
        answer = partner.http.request(method, path_of(webhook_id, rest, "x"), json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST"), webhook_id


def test_a_malformed_event_id_and_that_of_another_webhook_are_404(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook, other = partner.register(), partner.register("https://shop.example/other")
    theirs = str(rows.delivery(other["id"]))
    for event_id in [theirs, str(uuid4()), *MALFORMED]:
        path = f"{WEBHOOKS}/{webhook['id']}/deliveries/{event_id}"
        for answer in (partner.http.get(path), partner.http.post(f"{path}/retry")):
            assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND"), event_id


def test_an_id_may_be_written_in_capitals(partner: PartnerClient) -> None:
    webhook = partner.register()
    assert partner.http.get(f"{WEBHOOKS}/{webhook['id'].upper()}").json()["id"] == webhook["id"]


@pytest.mark.parametrize("path", [WEBHOOKS, f"{WEBHOOKS}/x", INVENTORY, f"{SANDBOX}/x"])
def test_a_request_that_did_not_come_through_the_gateway_is_refused(
    api: QueryProcess, rows: WebhookRows, path: str
) -> None:
    rows.partner("techmart")
    clients = [
        api.client(token=None),
        api.client(token="wrong"),
        api.client(consumer=None),
        api.client(consumer=""),
        api.client(credential=None),
        api.client(extra={"X-Anonymous-Consumer": "true"}),
        api.client(consumer=None, extra={"X-Consumer-Custom-ID": "techmart:live"}),
    ]
    for client in clients:
        with client:
            # What is not from the gateway is not in the contract either.
            client.event_hooks = {}
            answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


def test_a_suspended_partner_is_refused_and_told_so(api: QueryProcess, rows: WebhookRows) -> None:
    rows.partner("suspended", state="suspended")
    with api.client(consumer="suspended") as http:
        answer = http.get(WEBHOOKS)
    assert (answer.status_code, answer.json()["code"]) == (403, "PARTNER_SUSPENDED")
    rows.run("UPDATE {env}.partners SET state = 'active'")
    with api.client(consumer="suspended") as http:
        assert http.get(WEBHOOKS).status_code == 200


def test_an_unknown_partner_is_refused(api: QueryProcess, rows: WebhookRows) -> None:
    rows.partner("techmart")
    for name in (b"nobody", b"tech\xe4mart", b"a:b"):
        custom_id = [(b"X-Consumer-Custom-ID", name + b":sandbox")]
        with api.client(consumer=None) as http:
            answer = http.get(WEBHOOKS, headers=custom_id)
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE",
                                    "TRACE"])  # fmt: skip
def test_other_methods_are_refused_and_the_right_ones_listed(
    partner: PartnerClient, method: str
) -> None:
    webhook_id, event_id = partner.register()["id"], uuid4()
    path = f"{WEBHOOKS}/{webhook_id}"
    allowed = {
        WEBHOOKS: "GET, POST",
        path: "DELETE, GET, PATCH",
        f"{path}/ping": "POST",
        f"{path}/secret/rotate": "POST",
        f"{path}/secret/previous": "DELETE",
        f"{path}/deliveries": "GET",
        f"{path}/deliveries/{event_id}": "GET",
        f"{path}/deliveries/{event_id}/retry": "POST",
        f"{path}/replay": "POST",
        INVENTORY: "PUT",
        f"{SANDBOX}/webhooks/{webhook_id}/simulation": "DELETE, PUT",
    }
    for each, methods in allowed.items():
        if method not in methods.split(", "):
            answer = partner.http.request(method, each)
            assert (answer.status_code, answer.headers.get("Allow")) == (405, methods), each


@pytest.mark.parametrize(
    "path",
    [
        f"{WEBHOOKS}/", f"{WEBHOOKS}//ping", "/partner/v1//webhooks", f"{WEBHOOKS}/x/deliveries/",
        f"{WEBHOOKS}/x/nothing", f"{SANDBOX}", f"{SANDBOX}/inventory", f"{SANDBOX}/inventory/",
        f"{SANDBOX}/inventory/a/b", "/partner/v1/webhookss", "/partner/v1", "/partner/v1x",
    ],
)  # fmt: skip
def test_a_path_has_one_spelling(partner: PartnerClient, path: str) -> None:
    answer = partner.http.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


def test_a_letter_of_a_path_may_be_encoded(partner: PartnerClient) -> None:
    assert partner.http.get("/partner/v1/w%65bhooks").status_code == 200


def test_live_has_webhooks_and_none_of_the_sandboxs_paths(
    database: Database, valkey: RunningValkey, tmp_path: Path
) -> None:
    settings = settings_for(database.url("live_webhooks"), valkey.url)
    with connect_owner(database.owner_url) as owner:
        rows = WebhookRows(owner, Environment.LIVE)
        rows.partner("techmart")
        with running_api(tmp_path, settings) as api, api.client() as http:
            webhook = PartnerClient(http, uuid4()).register()
            simulation = f"{SANDBOX}/webhooks/{webhook['id']}/simulation"
            for path, method in ((INVENTORY, "PUT"), (simulation, "PUT"), (simulation, "DELETE")):
                answer = http.request(method, path, json={"quantity": 1})
                assert (answer.status_code, answer.json()["message"]) == (404, "No such path")
            loopback = {"url": "http://127.0.0.1:8000/", "events": ["inventory.updated"]}
            assert http.post(WEBHOOKS, json=loopback).status_code == 400
            assert rows.one("SELECT count(*) FROM {env}.products WHERE product_id = 'A'") == 0


def test_a_live_api_does_not_start_with_development_targets(
    database: Database, valkey: RunningValkey, tmp_path: Path
) -> None:
    settings = settings_for(database.url("live_webhooks"), valkey.url, DEVELOPMENT_TARGETS="true")
    with pytest.raises(AssertionError, match="DEVELOPMENT_TARGETS"):  # noqa: SIM117
        with running_api(tmp_path, settings):
            pass


def test_a_request_of_a_client_that_goes_away_leaves_no_error(
    api: QueryProcess, partner: PartnerClient
) -> None:
    before = len(api.events("request.failed"))
    head = f"POST {WEBHOOKS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += f"X-Backend-Token: {BACKEND_TOKEN}\r\nX-Consumer-Custom-ID: techmart:sandbox\r\n"
    head += f"X-Credential-Identifier: {CREDENTIAL_ID}\r\n"
    with socket.create_connection(("127.0.0.1", api.port), timeout=5) as connection:
        connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
    assert partner.http.get(WEBHOOKS).status_code == 200
    assert len(api.events("request.failed")) == before
