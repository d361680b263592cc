"""Webhooks are registered, listed, changed and deleted by their partner (W1, W2, W11)."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from services.domain.webhooks.states import DisabledReason
from tests.integration.webhooks.api.conftest import ENDPOINT_LIMIT, URL, WEBHOOKS, PartnerClient
from tests.webhook_rows import WebhookRows
from tools.query_process import QueryProcess


def without_secret(registered: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in registered.items() if name != "secret"}


def test_a_registered_webhook_is_active_and_listed(partner: PartnerClient) -> None:
    registered = partner.register()
    expected = without_secret(registered)
    assert expected["state"] == "active"
    assert expected["disabled_reason"] is None
    assert partner.http.get(WEBHOOKS).json() == {"items": [expected]}
    assert partner.http.get(f"{WEBHOOKS}/{registered['id']}").json() == expected


def test_events_are_listed_once_and_in_the_order_of_the_contract(partner: PartnerClient) -> None:
    given = ["inventory.out_of_stock", "inventory.updated", "inventory.out_of_stock"]
    registered = partner.register(events=given)
    assert registered["events"] == ["inventory.updated", "inventory.out_of_stock"]
    changed = partner.change(registered["id"], events=["inventory.low_stock"] * 3)
    assert changed["events"] == ["inventory.low_stock"]


def test_webhooks_are_listed_oldest_first(partner: PartnerClient) -> None:
    ids = [partner.register(f"{URL}/{number}")["id"] for number in range(3)]
    listed = partner.http.get(WEBHOOKS).json()["items"]
    assert [webhook["id"] for webhook in listed] == ids


def test_a_url_is_registered_once_however_its_host_is_written(partner: PartnerClient) -> None:
    partner.register("https://shop.example/hooks")
    again = {"url": "HTTPS://Shop.Example:443/hooks", "events": ["inventory.updated"]}
    answer = partner.http.post(WEBHOOKS, json=again)
    assert (answer.status_code, answer.json()["code"]) == (409, "WEBHOOK_EXISTS")


def test_two_partners_may_have_the_same_url(partner: PartnerClient, rival: PartnerClient) -> None:
    assert partner.register()["id"] != rival.register()["id"]


def test_a_url_can_be_registered_again_when_it_was_deleted(partner: PartnerClient) -> None:
    first = partner.register()
    assert partner.http.delete(f"{WEBHOOKS}/{first['id']}").status_code == 204
    assert partner.register()["id"] != first["id"]


def test_a_url_is_not_changed_to_that_of_another_webhook(partner: PartnerClient) -> None:
    partner.register(f"{URL}/a")
    other = partner.register(f"{URL}/b")
    answer = partner.http.patch(f"{WEBHOOKS}/{other['id']}", json={"url": f"{URL}/a"})
    assert (answer.status_code, answer.json()["code"]) == (409, "WEBHOOK_EXISTS")
    assert partner.http.get(f"{WEBHOOKS}/{other['id']}").json() == without_secret(other)
    assert partner.change(other["id"], url=f"{URL}/b")["url"] == f"{URL}/b"


def test_the_limit_counts_disabled_webhooks_and_not_deleted_ones(partner: PartnerClient) -> None:
    made = [partner.register(f"{URL}/{number}") for number in range(ENDPOINT_LIMIT)]
    partner.change(made[0]["id"], state="disabled")
    one_more = {"url": f"{URL}/more", "events": ["inventory.updated"]}
    answer = partner.http.post(WEBHOOKS, json=one_more)
    assert (answer.status_code, answer.json()["code"]) == (409, "WEBHOOK_LIMIT_REACHED")
    # A client that asks for a url twice learns that it has it, at the limit too.
    same = partner.http.post(WEBHOOKS, json={**one_more, "url": made[1]["url"]})
    assert same.json()["code"] == "WEBHOOK_EXISTS"
    partner.http.delete(f"{WEBHOOKS}/{made[0]['id']}")
    assert partner.http.post(WEBHOOKS, json=one_more).status_code == 201


def race(api: QueryProcess, urls: list[str]) -> list[int]:
    """Register all urls at the same time; return the statuses."""

    def register(url: str) -> int:
        with api.client(timeout=20) as http:
            body = {"url": url, "events": ["inventory.updated"]}
            return http.post(WEBHOOKS, json=body).status_code

    with ThreadPoolExecutor(len(urls)) as threads:
        return sorted(threads.map(register, urls))


def test_ten_registrations_at_once_do_not_pass_the_limit(
    api: QueryProcess, partner: PartnerClient, rows: WebhookRows
) -> None:
    statuses = race(api, [f"{URL}/{number}" for number in range(10)])
    assert statuses == [201] * ENDPOINT_LIMIT + [409] * (10 - ENDPOINT_LIMIT)
    assert rows.one("SELECT count(*) FROM {env}.endpoints") == ENDPOINT_LIMIT


def test_ten_registrations_of_one_url_at_once_make_one_webhook(
    api: QueryProcess, partner: PartnerClient
) -> None:
    assert race(api, [URL] * 10) == [201] + [409] * 9


def test_a_disabled_webhook_says_why_and_is_enabled_again(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook_id = partner.register()["id"]
    disabled = partner.change(webhook_id, state="disabled")
    assert (disabled["state"], disabled["disabled_reason"]) == ("disabled", "by_partner")
    enabled = partner.change(webhook_id, state="active")
    assert (enabled["state"], enabled["disabled_reason"]) == ("active", None)


@pytest.mark.parametrize("reason", [DisabledReason.GONE, DisabledReason.FAILING])
def test_enabling_forgets_why_it_was_disabled_but_not_the_incident(
    partner: PartnerClient, rows: WebhookRows, reason: DisabledReason
) -> None:
    webhook_id = partner.register()["id"]
    rows.run(
        "UPDATE {env}.endpoints SET state = 'disabled', disabled_reason = %s,"
        " failing_since = now(), slow_until = now(), incident_since = now() WHERE id = %s",
        [reason, webhook_id],
    )
    shown = partner.http.get(f"{WEBHOOKS}/{webhook_id}").json()
    assert shown["disabled_reason"] == reason
    assert shown["failing_since"] is not None
    # Disabling it once more does not hide what has happened.
    assert partner.change(webhook_id, state="disabled")["disabled_reason"] == reason
    assert partner.change(webhook_id, state="active")["failing_since"] is None
    columns = "disabled_reason, failing_since, slow_until, incident_since IS NOT NULL"
    assert rows.endpoint_columns(webhook_id, columns) == (None, None, None, True)


def test_what_an_active_webhook_has_failed_since_stays_unless_its_url_changes(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook_id = partner.register()["id"]
    rows.run("UPDATE {env}.endpoints SET failing_since = now(), slow_until = now()")
    columns = "failing_since IS NULL, slow_until IS NULL"
    partner.change(webhook_id, state="active", events=["inventory.updated"], url=URL)
    assert rows.endpoint_columns(webhook_id, columns) == (False, False)
    partner.change(webhook_id, url=f"{URL}/new")
    assert rows.endpoint_columns(webhook_id, columns) == (True, True)


def test_a_deleted_webhook_is_gone_for_every_path_and_its_secrets_with_it(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook_id = partner.register()["id"]
    assert partner.http.post(f"{WEBHOOKS}/{webhook_id}/secret/rotate").status_code == 200
    assert rows.endpoint_columns(webhook_id, "previous_secret IS NOT NULL") == (True,)
    answer = partner.http.delete(f"{WEBHOOKS}/{webhook_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert partner.http.delete(f"{WEBHOOKS}/{webhook_id}").status_code == 404
    assert partner.http.get(f"{WEBHOOKS}/{webhook_id}").status_code == 404
    assert partner.http.get(WEBHOOKS).json() == {"items": []}
    columns = "state, secret, previous_secret, previous_secret_until"
    assert rows.endpoint_columns(webhook_id, columns) == ("deleted", None, None, None)
