"""The client and the contract: each operation has a method, and no method does anything else."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from partner_inventory import PartnerInventory
from tests.partner_client.scripted import Scripted
from tools.contract.check import is_path_of
from tools.contract.document import METHODS, expand, load_document, schema_problems

WEBHOOK = "01a2063f-2f77-7c51-8a40-0b1c2d3e4f50"
EVENT = "01a206a4-5b1c-7c3e-9d0a-4f5e6d7c8b9b"
SINCE = datetime(2026, 11, 22, 8, tzinfo=UTC)

# Every method that sends one request of its own, with every argument that it has.
CALLS: dict[str, Callable[[PartnerInventory], object]] = {
    "queryInventory": lambda api: api.stock(["SKU-10442", "SKU-20017"]),
    "getInventory": lambda api: api.stock_by_get(["SKU-10442", "SKU-20017"]),
    "getInventoryChanges": lambda api: api.changes("a cursor", limit=10),
    "registerWebhook": lambda api: api.register_webhook(
        "https://shop.example/hooks", ["inventory.updated"], secret="x" * 16
    ),
    "listWebhooks": lambda api: api.webhooks(),
    "getWebhook": lambda api: api.webhook(WEBHOOK),
    "changeWebhook": lambda api: api.change_webhook(
        WEBHOOK, url="https://shop.example", events=["inventory.updated"], state="active"
    ),
    "deleteWebhook": lambda api: api.delete_webhook(WEBHOOK),
    "pingWebhook": lambda api: api.ping(WEBHOOK),
    "rotateSecret": lambda api: api.rotate_secret(WEBHOOK, secret="x" * 16, overlap_hours=0),
    "endOverlap": lambda api: api.drop_previous_secret(WEBHOOK),
    "listDeliveries": lambda api: api.delivery_page(
        WEBHOOK, state="exhausted", limit=50, cursor="a cursor"
    ),
    "getDelivery": lambda api: api.delivery(WEBHOOK, EVENT),
    "retryDelivery": lambda api: api.retry_delivery(WEBHOOK, EVENT),
    "replayDeliveries": lambda api: api.replay(WEBHOOK, SINCE, include_delivered=True),
    "setSandboxQuantity": lambda api: api.set_stock("A/B ?#ü", 9),
    "simulate": lambda api: api.simulate(WEBHOOK, "timeout", 3),
    "endSimulation": lambda api: api.end_simulation(WEBHOOK),
    "getContract": lambda api: api.contract(),
    "getDocumentPage": lambda api: api.contract_page(),
}
# These are made of the others.
MADE_OF_OTHERS = {"follow", "deliveries", "replay_everything", "close", "limit"}
DOCUMENT = expand(load_document(), load_document())


def operations() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Return the contract's operations: method, path and description, by id."""
    return {
        each["operationId"]: (method.upper(), path, each)
        for path, item in DOCUMENT["paths"].items()
        for method, each in item.items()
        if method.upper() in METHODS
    }


def good_answer(operation: dict[str, Any]) -> httpx.Response:
    """Return the example of an operation's good answer."""
    status = min(operation["responses"])
    content = operation["responses"][status].get("content", {})
    if "application/json" not in content:
        return httpx.Response(int(status), text="a text" if content else "")
    described = content["application/json"]
    (example, *_) = described["examples"].values()
    return httpx.Response(int(status), json=example["value"])


def test_every_operation_has_a_method_and_no_method_has_another() -> None:
    assert set(CALLS) == set(operations())
    public = {name for name in vars(PartnerInventory) if not name.startswith("_")}
    named = {name for call in CALLS.values() for name in call.__code__.co_names}
    assert public - named == MADE_OF_OTHERS


@pytest.mark.parametrize("operation_id", CALLS)
def test_a_method_sends_what_the_contract_describes_and_reads_its_example(
    operation_id: str,
) -> None:
    method, path, operation = operations()[operation_id]
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return good_answer(operation)

    CALLS[operation_id](Scripted().client(answer))
    (request,) = asked
    sent = [unquote(each) for each in request.url.raw_path.decode().partition("?")[0].split("/")]
    assert request.method == method
    assert is_path_of(path.split("/"), sent)
    known = {each["name"] for each in operation["parameters"] if each["in"] == "query"}
    assert set(request.url.params) == known
    if "requestBody" not in operation:
        assert request.content == b""
        return
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    body = json.loads(request.content)
    assert [*schema_problems(schema, body)] == []
    assert set(body) == set(schema["properties"])  # every field can be sent


def test_a_request_without_arguments_of_choice_is_one_of_the_contract_too() -> None:
    bare: dict[str, Callable[[PartnerInventory], object]] = {
        "registerWebhook": lambda api: api.register_webhook("https://shop", ["inventory.updated"]),
        "rotateSecret": lambda api: api.rotate_secret(WEBHOOK),
        "getInventoryChanges": lambda api: api.changes(),
    }
    bodies: list[bytes] = []
    for operation_id, call in bare.items():
        operation = operations()[operation_id][2]

        def answer(request: httpx.Request, operation: dict[str, Any] = operation) -> httpx.Response:
            bodies.append(request.content)
            return good_answer(operation)

        call(Scripted().client(answer))
    assert json.loads(bodies[0]) == {"url": "https://shop", "events": ["inventory.updated"]}
    assert bodies[1:] == [b"", b""]
