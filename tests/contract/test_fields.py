"""Contract: each field and parameter is in the document and in the code, or a test fails."""

import json
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from services.core.errors import Envelope, PartnerError
from services.domain.stock import item_json
from services.query import delta_route
from services.query.delta import Removed
from services.query.requests import ids_of_body, ids_of_query
from services.webhooks.api import requests
from services.webhooks.api.answers import AttemptRow, DeliveryRow, WebhookRow
from services.webhooks.delivery.payload import Payload
from services.webhooks.targets import TargetPolicy
from tests.contract import surface
from tools.contract.document import expand, load_document

Document = dict[str, Any]

document = load_document()


def fields_of_the_code() -> dict[str, set[str]]:
    """Return the fields of each answer and event, by the name of its schema."""

    def names(kind: type[msgspec.Struct]) -> set[str]:
        return set(kind.__struct_fields__)

    item = item_json("A", 1, datetime(2026, 11, 22, tzinfo=UTC), 1)
    return {
        "Item": set(json.loads(item)),
        "RemovedProduct": set(Removed._fields),
        "Webhook": names(WebhookRow),
        "RegisteredWebhook": names(WebhookRow) | {"secret"},
        "Delivery": names(DeliveryRow),
        "Attempt": names(AttemptRow),
        "Simulation": names(requests.Simulated),
        "StockEvent": names(Payload),
        "PingEvent": names(Payload),
        "Error": names(Envelope),
    }


def fields_of_the_document(given: Document) -> dict[str, set[str]]:
    return {
        name: set(schema["properties"])
        for name, schema in given["components"]["schemas"].items()
        if "properties" in schema
    }


def test_answers_and_events_have_the_documents_fields_and_no_others() -> None:
    known = fields_of_the_document(document)
    for name, found in fields_of_the_code().items():
        assert found == known[name], name


def test_a_field_on_one_side_only_is_found() -> None:
    for spoil in (
        lambda properties: properties.pop("version"),
        lambda properties: properties.update(price={"type": "integer"}),
    ):
        spoiled = deepcopy(document)
        spoil(spoiled["components"]["schemas"]["Item"]["properties"])
        assert fields_of_the_code()["Item"] != fields_of_the_document(spoiled)["Item"]


def test_every_field_of_an_answer_is_always_there() -> None:
    """So the check of every answer in every test finds fields that are on one side only."""
    for name, response in document["components"]["responses"].items():
        media = expand(response, document).get("content", {}).get("application/json")
        if media is not None:
            schema = media["schema"]
            assert schema["required"] == [*schema["properties"]], name


BODIES: dict[str, Callable[[bytes], object]] = {
    "InventoryRequest": ids_of_body,
    "WebhookRequest": lambda body: requests.registration_of(body, TargetPolicy.of("", "443")),
    "WebhookChange": lambda body: requests.change_of(body, TargetPolicy.of("", "443")),
    "RotationRequest": requests.rotation_of,
    "ReplayRequest": requests.replay_of,
    "QuantityRequest": requests.quantity_of,
    "Simulation": requests.simulation_of,
}
REQUEST_EXAMPLE = {  # a good value for each field that must be there
    "product_ids": ["A"],
    "url": "https://shop.example",
    "events": ["inventory.updated"],
    "since": "2026-11-22T09:14:03Z",
    "quantity": 1,
    "outcome": "timeout",
    "attempts": 1,
}


@pytest.mark.parametrize("name", BODIES)
def test_requests_take_the_documents_fields_and_no_others(name: str) -> None:
    schema = document["components"]["schemas"][name]
    body = {field: REQUEST_EXAMPLE[field] for field in schema.get("required", [])}
    with pytest.raises(PartnerError) as refusal:
        BODIES[name](json.dumps({**body, "colour": "red"}).encode())
    assert surface.names_in(refusal.value.message) == set(schema["properties"])
    for field in schema.get("required", []):
        with pytest.raises(PartnerError, match=f"`{field}` is missing"):
            BODIES[name](json.dumps({key: body[key] for key in body if key != field}).encode())


def test_every_request_body_is_among_those() -> None:
    bodies = {
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].split("/")[-1]
        for item in document["paths"].values()
        for operation in item.values()
        if "requestBody" in operation
    }
    assert bodies == set(BODIES)


@pytest.mark.parametrize(
    ("operation_id", "parse"),
    [
        ("getInventory", ids_of_query),
        ("getInventoryChanges", delta_route._asked),
        ("listDeliveries", requests.page_of),
    ],
)
def test_queries_take_the_documents_parameters_and_no_others(
    operation_id: str, parse: Callable[[bytes], object]
) -> None:
    with pytest.raises(PartnerError) as refusal:
        parse(b"colour=red")
    assert surface.names_in(refusal.value.message) == parameters_of(operation_id, "query")


def parameters_of(operation_id: str, place: str) -> set[str]:
    for item in expand(document["paths"], document).values():
        for operation in item.values():
            if operation["operationId"] == operation_id:
                return {
                    each["name"] for each in operation.get("parameters", []) if each["in"] == place
                }
    raise KeyError(operation_id)


def test_no_other_operation_takes_parameters_of_a_query() -> None:
    takes = {
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
        if parameters_of(operation["operationId"], "query")
    }
    assert takes == {"getInventory", "getInventoryChanges", "listDeliveries"}


def test_every_operation_takes_a_request_id() -> None:
    for item in document["paths"].values():
        for operation in item.values():
            headers = parameters_of(operation["operationId"], "header")
            assert headers == {"X-Request-ID"}, operation["operationId"]
