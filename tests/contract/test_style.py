"""Contract: the document is written as people and generators of clients expect it."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.linter import style_problems
from tests.needs import PACKAGES
from tools.contract.document import DOCUMENT, Json, expand, load_document

document = load_document()
INVENTORY = "/partner/v1/inventory"


def query(spoiled: dict[str, Any]) -> dict[str, Any]:
    return spoiled["paths"][INVENTORY]["post"]


def rename_path(spoiled: dict[str, Any]) -> None:
    spoiled["paths"]["/partner/v1/Stock_Levels"] = spoiled["paths"].pop(INVENTORY)


def rename_field(spoiled: dict[str, Any]) -> None:
    properties = spoiled["components"]["schemas"]["Ping"]["properties"]
    properties["eventId"] = properties["event_id"]


def rename_parameter(name: str, new: str) -> Callable[[dict[str, Any]], None]:
    def spoil(spoiled: dict[str, Any]) -> None:
        spoiled["components"]["parameters"][name]["name"] = new

    return spoil


def bad_example(spoiled: dict[str, Any]) -> None:
    media = query(spoiled)["requestBody"]["content"]["application/json"]
    media["examples"]["three_products"]["value"]["product_ids"] = [7]


# the linter's rule: what breaks it
FAULTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "info-contact": lambda spoiled: spoiled["info"].pop("contact"),
    "tag-description": lambda spoiled: spoiled["tags"][0].pop("description"),
    "operation-description": lambda spoiled: query(spoiled).pop("description"),
    "operation-singular-tag": lambda spoiled: query(spoiled)["tags"].append("Webhooks"),
    "operation-tag-defined": lambda spoiled: spoiled["paths"]["/partner/v1/docs"]["get"].update(
        tags=["Prices"]
    ),
    "operation-operationId-unique": lambda spoiled: query(spoiled).update(operationId="simulate"),
    "no-unused-components": lambda spoiled: spoiled["components"]["schemas"].update(
        Price={"type": "integer"}
    ),
    "no-invalid-media-type-examples": bad_example,
    "security-defined": lambda spoiled: spoiled.pop("security"),
    "struct": lambda spoiled: query(spoiled).update(colour="red"),
    "rule/summary-is-short": lambda spoiled: query(spoiled).update(summary="x" * 61),
    "rule/path-is-kebab-case-below-its-version": rename_path,
    "rule/operation-id-is-camel-case": lambda spoiled: spoiled["paths"]["/partner/v1/docs"][
        "get"
    ].update(operationId="get_page"),
    "rule/path-parameter-is-camel-case": rename_parameter("EventId", "event_id"),
    "rule/query-parameter-is-snake-case": rename_parameter("PageLimit", "pageLimit"),
    "rule/field-is-snake-case": rename_field,
    "rule/server-is-https": lambda spoiled: spoiled["servers"][0].update(url="http://api.example"),
}


@pytest.mark.long
@pytest.mark.needs(PACKAGES)
@pytest.mark.timeout(120)
def test_the_linter_has_nothing_to_say() -> None:
    assert style_problems(DOCUMENT) == []


@pytest.mark.long
@pytest.mark.needs(PACKAGES)
@pytest.mark.timeout(120)
def test_each_rule_of_the_linter_finds_its_fault(tmp_path: Path) -> None:
    spoiled = deepcopy(document)
    for spoil in FAULTS.values():
        spoil(spoiled)
    copy = tmp_path / "spoiled.yaml"
    copy.write_text(yaml.safe_dump(spoiled, sort_keys=False), encoding="utf-8")
    found = {problem["rule"] for problem in style_problems(copy)}
    assert set(FAULTS) - found == set()


def undescribed(node: Json, place: str) -> Iterator[str]:
    """Yield the places of fields without a description, their own or that of what they name."""
    if isinstance(node, list):
        for number, part in enumerate(node):
            yield from undescribed(part, f"{place}/{number}")
    if not isinstance(node, dict):
        return
    for name, field in node.get("properties", {}).items():
        if "description" not in field:
            yield f"{place}/{name}"
    for key, part in node.items():
        if key not in {"example", "examples", "enum"}:
            yield from undescribed(part, f"{place}/{key}")


def test_every_schema_and_every_field_is_described() -> None:
    schemas = expand(document["components"]["schemas"], document)
    assert [name for name, schema in schemas.items() if "description" not in schema] == []
    assert [*undescribed(schemas, "#")] == []


def test_a_field_without_a_description_is_found() -> None:
    schemas = expand(document["components"]["schemas"], document)
    del schemas["Webhook"]["properties"]["created_at"]["description"]
    assert "#/Webhook/created_at" in [*undescribed(schemas, "#")]


@pytest.mark.parametrize("name", document["components"]["responses"])
def test_every_answer_names_its_request_and_every_error_is_the_envelope(name: str) -> None:
    answer = document["components"]["responses"][name]
    assert "X-Request-ID" in answer["headers"]
    media = answer.get("content", {}).get("application/json")
    if media is not None and "'code'" in str(media.get("examples")):
        assert media["schema"] == {"$ref": "#/components/schemas/Error"}
        assert all(each.get("summary") for each in media["examples"].values())
