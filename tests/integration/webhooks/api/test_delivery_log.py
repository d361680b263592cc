"""The delivery log shows every delivery with its attempts, in pages that stand still (W11)."""

from typing import Any
from uuid import UUID

import pytest

from services.domain.events import EventType
from services.domain.states import DeliveryState
from tests.integration.webhooks.api.conftest import WEBHOOKS, PartnerClient
from tests.webhook_rows import WebhookRows

INSERT_ATTEMPT = """
INSERT INTO {env}.attempts
    (endpoint_id, event_id, series, number, outcome, status, detail, started_at, milliseconds)
VALUES (%s, %s, %s, %s, %s, %s, %s, '2026-11-22T10:00:00+01:00', 12)
"""


def pages(
    partner: PartnerClient, webhook_id: str, limit: int, **more: str
) -> list[list[dict[str, Any]]]:
    """Return the pages of a log, from the first to the last."""
    found: list[list[dict[str, Any]]] = []
    parameters: dict[str, Any] = {"limit": limit, **more}
    while True:
        page = partner.http.get(f"{WEBHOOKS}/{webhook_id}/deliveries", params=parameters).json()
        found.append(page["items"])
        if page["next_cursor"] is None:
            return found
        parameters["cursor"] = page["next_cursor"]


def ids_of(items: list[dict[str, Any]]) -> list[UUID]:
    return [UUID(item["event_id"]) for item in items]


@pytest.mark.parametrize(("count", "limit", "sizes"), [(0, 3, [0]), (3, 3, [3]), (7, 3, [3, 3, 1]),
                                                       (6, 3, [3, 3]), (2, 1, [1, 1])])  # fmt: skip
def test_pages_hold_every_delivery_once_newest_first(
    partner: PartnerClient, rows: WebhookRows, count: int, limit: int, sizes: list[int]
) -> None:
    webhook = partner.register()
    rows.delivery(rows.endpoint(partner.id))  # of another webhook
    made = [rows.delivery(webhook["id"]) for _ in range(count)]
    found = pages(partner, webhook["id"], limit)
    assert [len(page) for page in found] == sizes
    assert [each for page in found for each in ids_of(page)] == made[::-1]


def test_a_page_has_20_deliveries_unless_asked_otherwise(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook = partner.register()
    made = [rows.delivery(webhook["id"]) for _ in range(101)]
    path = f"{WEBHOOKS}/{webhook['id']}/deliveries"
    assert ids_of(partner.http.get(path).json()["items"]) == made[:-21:-1]
    assert len(partner.http.get(path, params={"limit": 100}).json()["items"]) == 100


def test_new_deliveries_do_not_move_the_pages_that_are_still_to_be_read(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook = partner.register()
    made = [rows.delivery(webhook["id"]) for _ in range(4)]
    path = f"{WEBHOOKS}/{webhook['id']}/deliveries"
    first = partner.http.get(path, params={"limit": 2}).json()
    for _ in range(3):
        rows.delivery(webhook["id"])
    rows.run("DELETE FROM {env}.deliveries WHERE event_id = %s", [made[2]])  # the cursor's own
    rest = partner.http.get(path, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert ids_of(first["items"] + rest["items"]) == made[::-1]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("state", DeliveryState)
def test_a_log_shows_one_state_when_asked_to(
    partner: PartnerClient, rows: WebhookRows, state: DeliveryState
) -> None:
    webhook = partner.register()
    made = {
        each: [rows.delivery(webhook["id"], state=each) for _ in range(3)] for each in DeliveryState
    }
    found = pages(partner, webhook["id"], 2, state=state)
    assert [ids_of(page) for page in found] == [made[state][:0:-1], made[state][:1]]


def test_a_delivery_shows_its_event_and_the_attempts_of_all_series(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook = partner.register()
    event_id = rows.delivery(webhook["id"], rows.event(EventType.INVENTORY_LOW_STOCK))
    rows.run("UPDATE {env}.deliveries SET series = 2, attempts = 1, state = 'retrying'")
    attempts = [
        (2, 1, "timeout", None, "no whole answer in 15 s"),
        (1, 2, "delivered", 204, ""),
        (1, 1, "http_error", 500, 'a "quote", a \n line and \u2028'),
    ]
    for attempt in attempts:
        rows.run(INSERT_ATTEMPT, [webhook["id"], event_id, *attempt])
    path = f"{WEBHOOKS}/{webhook['id']}/deliveries"
    shown = partner.http.get(f"{path}/{event_id}").json()
    assert partner.http.get(path).json()["items"] == [shown]
    assert (shown["event_type"], shown["product_id"]) == ("inventory.low_stock", "A")
    assert (shown["series"], shown["state"], shown["version"]) == (2, "retrying", 1)
    assert shown["next_attempt_at"] is not None
    names = ("series", "number", "outcome", "status", "detail")
    assert [tuple(each[name] for name in names) for each in shown["attempts"]] == attempts[::-1]
    assert {each["started_at"] for each in shown["attempts"]} == {"2026-11-22T09:00:00.000000Z"}
    assert {each["duration_ms"] for each in shown["attempts"]} == {12}


def test_a_log_of_many_deliveries_is_read_in_its_time(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook = partner.register()
    rows.run(
        "WITH made AS (INSERT INTO {env}.events (event_type, occurred_at, data)"
        " SELECT 'inventory.updated', now(), '{{}}' FROM generate_series(1, 20000) RETURNING id)"
        " INSERT INTO {env}.deliveries (endpoint_id, event_id, state)"
        " SELECT %s, id, 'delivered' FROM made",
        [webhook["id"]],
    )
    oldest = rows.one("SELECT event_id FROM {env}.deliveries ORDER BY event_id LIMIT 1")
    rows.run("UPDATE {env}.deliveries SET state = 'exhausted' WHERE event_id = %s", [oldest])
    assert [ids_of(page) for page in pages(partner, webhook["id"], 5, state="exhausted")] == [
        [oldest]
    ]
