"""Webhook subscriptions of any partner: found, judged, disabled and enabled by operations."""

import threading
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from services.admin.endpoints.rows import EndpointState
from services.admin.tokens.rows import Role
from services.core.environments import Environment
from services.domain.events import EventType
from services.domain.webhooks import states
from services.domain.webhooks.locks import HOLD_TOGETHER
from services.domain.webhooks.states import DeliveryState
from services.local.valkey import RunningValkey
from services.schema.locks import RELAYING
from tests.admin_process import AdminProcess, CommandLine
from tests.conftest import Database
from tests.webhook_rows import WebhookRows
from tests.webhooks_process import running_api
from tests.webhooks_process import settings_for as api_settings
from tools.waiting import wait_for

PATH = "/sandbox/endpoints"
UNDER = "--env sandbox"


@pytest.fixture
def admin(shared_admin: AdminProcess) -> AdminProcess:
    return shared_admin


@pytest.fixture
def run(shared_run: CommandLine) -> CommandLine:
    return shared_run


@pytest.fixture
def rows(shared_rows: WebhookRows) -> WebhookRows:
    return shared_rows


def audit_of(run: CommandLine, endpoint_id: UUID) -> list[dict[str, Any]]:
    return run.json(f"audit list --target endpoint:sandbox/{endpoint_id}")["items"]


def test_endpoints_of_all_partners_are_listed_newest_first(
    admin: AdminProcess, run: CommandLine, rows: WebhookRows
) -> None:
    made = [rows.endpoint(rows.partner(name)) for name in ("techmart", "rival")]
    rows.endpoint(rows.partner("gone"), state="deleted")
    WebhookRows(rows.owner, Environment.LIVE).endpoint(
        WebhookRows(rows.owner, Environment.LIVE).partner("live-only")
    )
    answer = admin.client().get(PATH).json()
    assert [item["id"] for item in answer["items"]] == [str(each) for each in reversed(made)]
    assert [item["partner"] for item in answer["items"]] == ["rival", "techmart"]
    assert run.json(f"endpoints list {UNDER}") == answer
    table = run(f"endpoints list {UNDER}").stdout.splitlines()
    assert table[0].split()[:3] == ["ENDPOINT", "PARTNER", "STATE"]
    assert table[1].startswith(f"{made[1]}  rival")


def test_each_filter_and_all_together_find_what_they_say(
    run: CommandLine, rows: WebhookRows
) -> None:
    techmart, rival = rows.partner("techmart"), rows.partner("rival")
    well = rows.endpoint(techmart, url="https://shop.example/Well")
    failing = rows.endpoint(techmart, url="https://shop.example/failing")
    disabled = rows.endpoint(rival, url="https://rival.example/well", state="disabled")
    deleted = rows.endpoint(rival, url="https://rival.example/old", state="deleted")
    rows.run("UPDATE {env}.endpoints SET failing_since = now() WHERE id = %s", [failing])
    expected = {
        "": [disabled, failing, well],
        "--partner techmart": [failing, well],
        "--state active": [failing, well],
        "--state disabled": [disabled],
        "--state deleted": [deleted],
        "--failing": [failing],
        "--not-failing": [disabled, well],
        "--url WELL": [disabled, well],
        "--url 100%": [],
        "--partner techmart --state active --not-failing --url shop": [well],
    }
    for options, ids in expected.items():
        found = run.json(f"endpoints list {UNDER} {options}")["items"]
        assert [item["id"] for item in found] == [str(each) for each in ids], options


def test_pages_hold_every_endpoint_once(admin: AdminProcess, rows: WebhookRows) -> None:
    partner = rows.partner()
    made = [str(rows.endpoint(partner)) for _ in range(7)]
    client, seen, parameters = admin.client(), list[str](), {"limit": "3"}
    while True:
        page = client.get(PATH, params=parameters).json()
        seen += [item["id"] for item in page["items"]]
        assert len(seen) <= len(made), "it repeats itself"
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
    assert seen == made[::-1]


def test_one_shows_what_is_needed_to_judge_it_and_no_secret(
    admin: AdminProcess, run: CommandLine, rows: WebhookRows
) -> None:
    endpoint = rows.endpoint(rows.partner(state="suspended"))
    rows.run(
        "UPDATE {env}.endpoints SET secret = 'a-sealed-secret', previous_secret = 'an-older-one',"
        " failing_since = now(), incident_since = now(), slow_until = now() + interval '1 min'"
    )
    for state in (DeliveryState.DELIVERED, DeliveryState.DELIVERED, DeliveryState.EXHAUSTED):
        rows.delivery(endpoint, state=state)
    rows.run("UPDATE {env}.deliveries SET finished_at = '2026-11-22T09:14:03Z'")
    answer = admin.client().get(f"{PATH}/{endpoint}")
    found = answer.json()
    assert found["deliveries"] == {"delivered": 2, "exhausted": 1}
    assert found["last_delivered_at"] == "2026-11-22T09:14:03Z"
    assert (found["partner"], found["partner_state"]) == ("techmart", "suspended")
    assert None not in (found["failing_since"], found["incident_since"], found["slow_until"])
    assert run.json(f"endpoints show {endpoint} {UNDER}") == found
    shown = run(f"endpoints show {endpoint} {UNDER}").stdout
    assert "2 delivered, 1 exhausted" in shown
    assert "secret" not in answer.text + shown


def test_one_that_was_sent_nothing_says_so(run: CommandLine, rows: WebhookRows) -> None:
    endpoint = rows.endpoint(rows.partner())
    found = run.json(f"endpoints show {endpoint} {UNDER}")
    assert (found["deliveries"], found["last_delivered_at"]) == ({}, None)


def test_disable_and_enable_over_http_are_audited(admin: AdminProcess, rows: WebhookRows) -> None:
    endpoint, client = rows.endpoint(rows.partner()), admin.client()
    rows.run("UPDATE {env}.endpoints SET failing_since = now(), slow_until = now()")
    disabled = client.post(f"{PATH}/{endpoint}/disable")
    assert disabled.status_code == 200
    assert (disabled.json()["state"], disabled.json()["disabled_reason"]) == (
        "disabled",
        "by_operator",
    )
    again = client.post(f"{PATH}/{endpoint}/disable")
    assert (again.status_code, again.json()["code"]) == (409, "CONFLICT")
    enabled = client.post(f"{PATH}/{endpoint}/enable").json()
    assert (enabled["state"], enabled["disabled_reason"]) == ("active", None)
    assert (enabled["failing_since"], enabled["slow_until"]) == (None, None)
    assert client.post(f"{PATH}/{endpoint}/enable").status_code == 409
    target = f"endpoint:sandbox/{endpoint}"
    entries = client.get("/audit", params={"target": target}).json()["items"]
    active = {"state": "active", "disabled_reason": None}
    stopped = {"state": "disabled", "disabled_reason": "by_operator"}
    assert [(each["action"], each["before"], each["after"]) for each in entries] == [
        ("endpoint.enabled", stopped, active),
        ("endpoint.disabled", active, stopped),
    ]
    assert {each["actor"] for each in entries} == {"token:tester"}


def test_the_command_line_does_the_same(run: CommandLine, rows: WebhookRows) -> None:
    endpoint = rows.endpoint(rows.partner())
    assert run.json(f"endpoints disable {endpoint} {UNDER}")["disabled_reason"] == "by_operator"
    again = run(f"endpoints disable {endpoint} {UNDER}")
    assert (again.exit_code, "is disabled by operations already" in again.stderr) == (1, True)
    assert run(f"endpoints enable {endpoint} {UNDER}").exit_code == 0
    again = run(f"endpoints enable {endpoint} {UNDER}")
    assert (again.exit_code, "is active already" in again.stderr) == (1, True)
    assert [each["action"] for each in audit_of(run, endpoint)] == [
        "endpoint.enabled",
        "endpoint.disabled",
    ]


@pytest.mark.parametrize("reason", [*states.DisabledReason])
def test_operations_enable_whatever_the_reason_was(
    run: CommandLine, rows: WebhookRows, reason: states.DisabledReason
) -> None:
    endpoint = rows.endpoint(rows.partner(), state="disabled")
    rows.run("UPDATE {env}.endpoints SET disabled_reason = %s", [reason])
    if reason != states.DisabledReason.BY_OPERATOR:
        assert run(f"endpoints disable {endpoint} {UNDER}").exit_code == 0
        assert audit_of(run, endpoint)[0]["before"]["disabled_reason"] == reason
    assert run.json(f"endpoints enable {endpoint} {UNDER}")["state"] == "active"


def test_what_there_is_not_or_was_deleted_is_refused(
    admin: AdminProcess, run: CommandLine, rows: WebhookRows
) -> None:
    deleted, client = rows.endpoint(rows.partner(), state="deleted"), admin.client()
    for verb in ("disable", "enable"):
        unknown = client.post(f"{PATH}/{uuid4()}/{verb}")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "NOT_FOUND")
        gone = client.post(f"{PATH}/{deleted}/{verb}")
        assert (gone.status_code, "deleted by its partner" in gone.json()["message"]) == (409, True)
        assert run(f"endpoints {verb} {uuid4()} {UNDER}").exit_code == 1
    assert client.get(f"{PATH}/{deleted}").json()["state"] == "deleted"
    assert client.get(f"{PATH}/{uuid4()}").status_code == 404
    assert client.get(PATH, params={"partner": "nobody"}).status_code == 404
    assert run(f"endpoints list {UNDER} --partner nobody").exit_code == 1
    for name, value in (("state", "asleep"), ("url", "\0"), ("partner", "\0"), ("failing", "so")):
        assert client.get(PATH, params={name: value}).status_code == 400
    assert client.get("/production/endpoints").status_code == 400
    assert run("endpoints", "list", "--env", "production").exit_code == 2
    assert run.json("audit list --target endpoint")["items"] == []


def test_a_viewer_looks_and_changes_nothing(admin: AdminProcess, rows: WebhookRows) -> None:
    endpoint, viewer = rows.endpoint(rows.partner()), admin.client(admin.token("eye", Role.VIEWER))
    assert viewer.get(f"{PATH}/{endpoint}").status_code == 200
    for verb in ("disable", "enable", "replay"):
        assert viewer.post(f"{PATH}/{endpoint}/{verb}").status_code == 403
    assert rows.endpoint_columns(endpoint, "state") == ("active",)


def test_enabling_waits_for_a_relay_that_saw_it_disabled(
    shared: Database, run: CommandLine, rows: WebhookRows
) -> None:
    endpoint = rows.endpoint(rows.partner(), state="disabled")
    with psycopg.connect(shared.owner_url) as relay:
        relay.execute(HOLD_TOGETHER, {"relaying": RELAYING[Environment.SANDBOX]})
        enabling = threading.Thread(target=run, args=(f"endpoints enable {endpoint} {UNDER}",))
        enabling.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        wait_for(lambda: rows.one(waiting) == 1, "somebody who waits for the relay")
        assert rows.endpoint_columns(endpoint, "state") == ("disabled",)
    enabling.join(20)
    assert rows.endpoint_columns(endpoint, "state") == ("active",)


def test_a_partner_sees_that_we_disabled_its_webhook_and_cannot_enable_it(
    shared: Database,
    valkey: RunningValkey,
    tmp_path: Path,
    run: CommandLine,
    rows: WebhookRows,
) -> None:
    endpoint = rows.endpoint(rows.partner("techmart"), events=[EventType.INVENTORY_UPDATED])
    run(f"endpoints disable {endpoint} {UNDER}")
    settings = api_settings(shared.url("sandbox_webhooks"), valkey.url, Environment.SANDBOX)
    with running_api(tmp_path, settings) as api, api.client() as partner:
        path = f"/partner/v1/webhooks/{endpoint}"
        assert partner.get(path).json()["disabled_reason"] == "by_operator"
        for change in ({"state": "active"}, {"state": "active", "url": "https://new.example/"}):
            refused = partner.patch(path, json=change)
            assert (refused.status_code, refused.json()["code"]) == (409, "WEBHOOK_DISABLED")
            assert refused.json()["message"].startswith("We disabled this webhook")
        disabled = _patch(partner, path, state="disabled")
        assert disabled["disabled_reason"] == "by_operator"
        assert _patch(partner, path, events=["inventory.low_stock"])["state"] == "disabled"
        run(f"endpoints enable {endpoint} {UNDER}")
        assert _patch(partner, path, state="disabled")["disabled_reason"] == "by_partner"
        assert _patch(partner, path, state="active")["disabled_reason"] is None


def _patch(partner: httpx.Client, path: str, **fields: object) -> dict[str, Any]:
    answer = partner.patch(path, json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_states_are_those_of_the_webhooks_service() -> None:
    assert [*EndpointState] == [*states.EndpointState]
