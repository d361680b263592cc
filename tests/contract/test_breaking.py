"""Contract: no change breaks a partner's program without a new version of the path."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.breaking import breaking_changes
from tools.contract.document import DOCUMENT, load_document

RELEASED = DOCUMENT.parent / "released"
QUERY, WEBHOOKS = "/partner/v1/inventory", "/partner/v1/webhooks"
WEBHOOK = f"{WEBHOOKS}/{{webhookId}}"

Document = dict[str, Any]
Change = Callable[[Document], object]

document = load_document()


def version_of(given: Document) -> tuple[int, ...]:
    return tuple(int(part) for part in given["info"]["version"].split("."))


def released() -> list[tuple[Path, Document]]:
    """Return all released contracts, oldest first."""
    read = [
        (path, yaml.safe_load(path.read_text("utf-8")))
        for path in RELEASED.glob("partner-inventory-api-*.yaml")
    ]
    return sorted(read, key=lambda each: version_of(each[1]))


def test_no_change_breaks_a_client_of_any_release_of_this_version() -> None:
    compared = [old for _, old in released() if version_of(old)[0] == version_of(document)[0]]
    assert compared
    for old in compared:
        assert breaking_changes(old, document) == []


def test_a_changed_contract_has_a_higher_version_than_the_last_release() -> None:
    """How a release is made is told in specs/api/README.md."""
    path, last = released()[-1]
    if path.read_bytes() != DOCUMENT.read_bytes():
        assert version_of(document) > version_of(last), (
            f"the contract differs from {path.name}: raise info.version"
            " (the second number if something was added, the third if only words changed)"
        )


def test_each_release_is_named_by_its_version() -> None:
    for path, old in released():
        assert path.stem == f"partner-inventory-api-{old['info']['version']}"


def schema(name: str, field: str | None = None) -> Callable[[Document], dict[str, Any]]:
    def find(given: Document) -> dict[str, Any]:
        found = given["components"]["schemas"][name]
        return found["properties"][field] if field else found

    return find


def put(find: Callable[[Document], dict[str, Any]], **parts: object) -> Change:
    return lambda given: find(given).update({key.rstrip("_"): each for key, each in parts.items()})


def drop(find: Callable[[Document], dict[str, Any]], key: str) -> Change:
    return lambda given: find(given).pop(key)


def operation(path: str, method: str) -> Callable[[Document], dict[str, Any]]:
    return lambda given: given["paths"][path][method]


def response(name: str, part: str = "headers") -> Callable[[Document], dict[str, Any]]:
    return lambda given: given["components"]["responses"][name][part]


def parameters(path: str, method: str) -> Callable[[Document], list[dict[str, Any]]]:
    return lambda given: given["paths"][path][method]["parameters"]


def drop_field(name: str, field: str) -> Change:
    def change(given: Document) -> None:
        found = given["components"]["schemas"][name]
        del found["properties"][field]
        if field in found.get("required", []):
            found["required"].remove(field)

    return change


def rename_path(given: Document) -> None:
    given["paths"]["/partner/v1/stock"] = given["paths"].pop(QUERY)


def rename_path_parameter(given: Document) -> None:
    paths = given["paths"]
    for path in [each for each in paths if "{webhookId}" in each]:
        paths[path.replace("{webhookId}", "{id}")] = paths.pop(path)
    given["components"]["parameters"]["WebhookId"]["name"] = "id"


def move_code(given: Document) -> None:
    examples = given["components"]["responses"]["CursorExpired"]
    answers = given["paths"][f"{QUERY}/changes"]["get"]["responses"]
    del answers["410"]
    answers["409"] = examples


def rename_code(given: Document) -> None:
    media = given["components"]["responses"]["CursorExpired"]["content"]["application/json"]
    media["examples"]["cursor_expired"]["value"]["code"] = "CURSOR_TOO_OLD"


def event(given: Document) -> dict[str, Any]:
    callback = given["paths"][WEBHOOKS]["post"]["callbacks"]["event"]
    return callback["{$request.body#/url}"]["post"]


NEW_PARAMETER = {"name": "warehouse", "in": "query", "schema": {"type": "string"}}
NEEDED_PARAMETER = NEW_PARAMETER | {"required": True}

# what is planted: the change, and words of what is said
BREAKING: dict[str, tuple[Change, str]] = {
    "a path removed": (lambda given: given["paths"].pop(QUERY), "was removed"),
    "a path renamed": (rename_path, f"POST {QUERY}: was removed"),
    "a method removed": (lambda given: given["paths"][WEBHOOK].pop("patch"), "PATCH"),
    "a server removed": (lambda given: given["servers"].pop(), "server was removed"),
    "a key in another header": (
        lambda given: given["components"]["securitySchemes"]["ApiKeyAuth"].update(name="X-Key"),
        "sent in another way",
    ),
    "a public path that needs a key": (
        drop(operation("/partner/v1/docs", "get"), "security"),
        "needs a key now",
    ),
    "a field of answers removed": (drop_field("Item", "version"), "version: the field was removed"),
    "a field of answers that may be absent": (
        lambda given: given["components"]["schemas"]["Item"]["required"].remove("version"),
        "may be absent now",
    ),
    "a field of answers that may be null": (
        put(schema("Item", "updated_at"), nullable=True),
        "null is new",
    ),
    "a field of answers of another type": (
        put(schema("Item", "version"), type="string"),
        "the type was integer",
    ),
    "whole numbers of answers become any numbers": (
        put(schema("Item", "quantity"), type="number"),
        "the type was integer",
    ),
    "a new value of a closed list": (
        put(schema("StockStatus"), enum=["in_stock", "low_stock", "out_of_stock", "backorder"]),
        "new values: ['backorder']",
    ),
    "a closed list becomes any text": (drop(schema("StockStatus"), "enum"), "new values: any"),
    "a negative quantity": (drop(schema("Item", "quantity"), "minimum"), "minimum was 0"),
    "longer pages than promised": (
        put(schema("InventoryChanges", "items"), maxItems=5000),
        "maxItems was 1000",
    ),
    "times become dates": (put(schema("Item", "updated_at"), format="date"), "format"),
    "a smaller batch": (put(schema("ProductIds"), maxItems=50), "maxItems was 100"),
    "shorter ids": (put(schema("ProductId"), maxLength=32), "maxLength was 64"),
    "a narrower form of ids": (put(schema("ProductId"), pattern="^[A-Z]+$"), "pattern"),
    "a new field that must be sent": (
        put(
            schema("WebhookRequest"),
            required=["url", "events", "name"],
            properties={
                **document["components"]["schemas"]["WebhookRequest"]["properties"],
                "name": {"type": "string"},
            },
        ),
        "name: must be sent now",
    ),
    "an optional field that must be sent": (
        put(schema("WebhookRequest"), required=["url", "events", "secret"]),
        "secret: must be sent now",
    ),
    "a field of requests removed": (drop_field("ReplayRequest", "include_delivered"), "removed"),
    "a value that is no longer taken": (
        put(schema("EventType"), enum=["inventory.updated", "inventory.low_stock"]),
        "no longer taken: ['inventory.out_of_stock']",
    ),
    "another default": (
        put(schema("RotationRequest", "overlap_hours"), default=0),
        "the default was 24",
    ),
    "a smaller most": (
        put(schema("RotationRequest", "overlap_hours"), maximum=48),
        "maximum was 168",
    ),
    "whole hours only": (put(schema("RotationRequest", "overlap_hours"), type="integer"), "type"),
    "a parameter removed": (
        lambda given: parameters(f"{QUERY}/changes", "get")(given).pop(1),
        "query limit: the parameter was removed",
    ),
    "a new parameter that must be sent": (
        lambda given: parameters(QUERY, "get")(given).append(NEEDED_PARAMETER),
        "query warehouse: must be sent now",
    ),
    "a parameter that must be sent": (
        lambda given: parameters(f"{QUERY}/changes", "get")(given)[0].update(required=True),
        "must be sent now",
    ),
    "a list written in another way": (
        lambda given: parameters(QUERY, "get")(given)[0].update(explode=True),
        "is written in another way",
    ),
    "a body that must be sent": (
        lambda given: given["paths"][f"{WEBHOOK}/secret/rotate"]["post"]["requestBody"].update(
            required=True
        ),
        "body: must be sent now",
    ),
    "another media type": (
        lambda given: given["components"]["responses"]["Inventory"].update(
            content={"text/csv": {"schema": {"type": "string"}}}
        ),
        "application/json was removed",
    ),
    "another status of success": (
        lambda given: operation(WEBHOOKS, "post")(given)["responses"].update(
            {"200": operation(WEBHOOKS, "post")(given)["responses"].pop("201")}
        ),
        "201: the status is removed",
    ),
    "a header removed": (drop(response("RateLimited"), "Retry-After"), "header was removed"),
    "a header that may be absent": (
        lambda given: response("RateLimited")(given)["Retry-After"].pop("required"),
        "Retry-After: may be absent now",
    ),
    "a code at another status": (move_code, "CURSOR_EXPIRED: came with ['410']"),
    "a code renamed": (rename_code, "CURSOR_EXPIRED: the error code was removed"),
    "the callback removed": (
        drop(operation(WEBHOOKS, "post"), "callbacks"),
        "the callback event was removed",
    ),
    "a field of events removed": (drop_field("StockEvent", "retry_count"), "removed"),
    "a signature that is not sent": (
        lambda given: event(given)["parameters"].pop(0),
        "header x-signature: the parameter was removed",
    ),
    "another form of the signature": (
        lambda given: given["components"]["parameters"]["X-Signature"]["schema"].update(
            pattern="^sha512="
        ),
        "pattern",
    ),
    "a success of receivers that is a failure now": (
        lambda given: event(given)["responses"].pop("2XX"),
        "2XX: the status is removed",
    ),
}


@pytest.mark.parametrize("name", BREAKING)
def test_a_breaking_change_is_found(name: str) -> None:
    change, words = BREAKING[name]
    changed = deepcopy(document)
    change(changed)
    told = breaking_changes(document, changed)
    assert any(words in each for each in told), told


HARMLESS: dict[str, Change] = {
    "a new path": lambda given: given["paths"].update(
        {"/partner/v1/prices": given["paths"][QUERY]}
    ),
    "a new method": lambda given: given["paths"][WEBHOOK].update(
        put=given["paths"][WEBHOOK]["get"]
    ),
    "a new server": lambda given: given["servers"].append({"url": "https://eu.inventory.example"}),
    "a new field of answers": lambda given: schema("Item")(given)["properties"].update(
        warehouse={"type": "string"}
    ),
    "a field of answers that is always there": lambda given: (
        schema("Item")(given)["properties"].update(warehouse={"type": "string"}),
        schema("Item")(given)["required"].append("warehouse"),
    ),
    "a new optional field of requests": lambda given: schema("WebhookRequest")(given)[
        "properties"
    ].update(name={"type": "string"}),
    "a larger batch": put(
        schema("InventoryRequest"),
        properties={
            "product_ids": document["components"]["schemas"]["ProductIds"] | {"maxItems": 500}
        },
    ),
    "a new optional parameter": lambda given: parameters(QUERY, "get")(given).append(NEW_PARAMETER),
    "a new header": lambda given: response("Inventory")(given).update(
        Sunset={"schema": {"type": "string"}}
    ),
    "a new error status": lambda given: operation(QUERY, "post")(given)["responses"].update(
        {"409": {"$ref": "#/components/responses/WebhookDisabled"}}
    ),
    "a new code": lambda given: schema("ErrorCode")(given)["enum"].append("TEAPOT"),
    "a new outcome of attempts": lambda given: schema("Attempt", "outcome")(given)["enum"].append(
        "too_many_redirects"
    ),
    "a new event type": lambda given: schema("EventType")(given)["enum"].append("price.updated"),
    "a tighter bound of answers": put(schema("InventoryChanges", "items"), maxItems=500),
    "other words": put(schema("Item"), description="Stock."),
    "another example": lambda given: schema("ProductId")(given).update(example="SKU-1"),
    "another operationId": put(operation(QUERY, "post"), operationId="findStock"),
    "a path's parameter renamed": rename_path_parameter,
    "a path that needs no key any more": put(operation(WEBHOOKS, "get"), security=[]),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_change_passes(name: str) -> None:
    changed = deepcopy(document)
    HARMLESS[name](changed)
    assert breaking_changes(document, changed) == []
