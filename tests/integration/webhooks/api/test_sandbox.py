"""In the sandbox a partner causes things: stock changes, and attempts that fail (A9)."""

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from services.domain.webhooks.states import Simulation
from tests.integration.webhooks.api.conftest import WEBHOOKS, PartnerClient
from tests.webhook_rows import WebhookRows
from tools.query_process import QueryProcess

INVENTORY = "/partner/v1/sandbox/inventory"


def set_quantity(partner: PartnerClient, product_id: str, quantity: int) -> dict[str, object]:
    answer = partner.http.put(
        f"{INVENTORY}/{quote(product_id, safe='')}", json={"quantity": quantity}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_quantity_is_set_and_the_item_answered(partner: PartnerClient, rows: WebhookRows) -> None:
    made = set_quantity(partner, "SHOP-1", 11)
    assert (made["product_id"], made["quantity"], made["status"]) == ("SHOP-1", 11, "in_stock")
    changed = set_quantity(partner, "SHOP-1", 0)
    assert (changed["quantity"], changed["status"]) == (0, "out_of_stock")
    assert set_quantity(partner, "SHOP-1", 2_147_483_647)["status"] == "in_stock"
    changes = rows.run(
        "SELECT old_quantity, new_quantity, relayed FROM {env}.stock_changes"
        " WHERE product_id = 'SHOP-1' ORDER BY id"
    )
    assert changes == [(None, 11, False), (11, 0, False), (0, 2_147_483_647, False)]


def test_the_same_quantity_is_no_change(partner: PartnerClient, rows: WebhookRows) -> None:
    assert set_quantity(partner, "SHOP-2", 5) == set_quantity(partner, "SHOP-2", 5)
    changes = "SELECT count(*) FROM {env}.stock_changes WHERE product_id = 'SHOP-2'"
    assert rows.one(changes) == 1


def test_stock_is_shared_by_all_partners(partner: PartnerClient, rival: PartnerClient) -> None:
    before = set_quantity(partner, "SHOP-3", 5)
    assert set_quantity(rival, "SHOP-3", 5) == before


@pytest.mark.parametrize(
    "product_id",
    ["a/b", "//", "..", ".", "%41", "a b", "+", "Kühlschrank", "\U0001f4a1" * 64, "\u2028",
     "\u00ad", "\u200e", "\ue000", "a?b#c", "'; --", "{env}", "%s"],
)  # fmt: skip
def test_an_id_of_any_signs_is_an_id(partner: PartnerClient, product_id: str) -> None:
    segment = "".join(f"%{byte:02X}" for byte in product_id.encode())
    answer = partner.http.put(f"{INVENTORY}/{segment}", json={"quantity": 1})
    assert (answer.status_code, answer.json()["product_id"]) == (200, product_id)


@pytest.mark.parametrize(
    ("segment", "words"),
    [
        *((each, "`product_id`") for each in ("%00", "a%0Ab", "a%7F", "%C2%85", "x" * 65)),
        ("%FF", "path is not UTF-8"),
    ],
)
def test_what_can_be_no_id_is_refused(partner: PartnerClient, segment: str, words: str) -> None:
    answer = partner.http.put(f"{INVENTORY}/{segment}", json={"quantity": 1})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
    assert words in answer.json()["message"]


def test_quantities_that_are_set_at_once_all_count(
    api: QueryProcess, partner: PartnerClient, rows: WebhookRows
) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda each: set_quantity(partner, "SHOP-4", each), range(20)))
    changes = "SELECT count(*) FROM {env}.stock_changes WHERE product_id = 'SHOP-4'"
    assert rows.one(changes) == 20


@pytest.mark.parametrize("outcome", Simulation)
def test_a_simulation_is_set_replaced_and_ended(
    partner: PartnerClient, rows: WebhookRows, outcome: Simulation
) -> None:
    webhook = partner.register()
    path = f"/partner/v1/sandbox/webhooks/{webhook['id']}/simulation"
    for attempts in (10 if outcome is Simulation.OUT_OF_ORDER else 100, 1):
        body = {"outcome": outcome, "attempts": attempts}
        answer = partner.http.put(path, json=body)
        assert (answer.status_code, answer.json()) == (200, body)
        columns = rows.endpoint_columns(webhook["id"], "simulation, simulations_left")
        assert columns == (outcome, attempts)
    for _ in range(2):
        assert partner.http.delete(path).status_code == 204
        columns = rows.endpoint_columns(webhook["id"], "simulation, simulations_left")
        assert columns == (None, 0)
    assert partner.http.get(f"{WEBHOOKS}/{webhook['id']}").status_code == 200
