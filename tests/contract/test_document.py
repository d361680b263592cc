"""Contract: the document is valid, its examples are true, and it says what the code says."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from openapi_spec_validator import OpenAPIV30SpecValidator

from services.kernel import headers
from services.kernel.environments import Environment
from services.kernel.errors import STATUS_OF, ErrorCode
from services.kernel.stock import StockStatus, stock_status
from tests.contract.document import DOCUMENT, Json, expand, load_document, schema_problems
from tests.contract.stock_answers import status_of
from tests.contract_check import GATEWAY_RESPONSES, UNKNOWN_METHOD, UNKNOWN_PATH

GATEWAY_POLICY = DOCUMENT.parents[2] / "gateway" / "kong.yml"

document = load_document()
whole = expand(document, document)
operations = {
    operation["operationId"]: operation
    for item in document["paths"].values()
    for operation in item.values()
}


def examples_of(node: Json, place: str = "#") -> Iterator[tuple[str, dict[str, Any], Json]]:
    """Yield each example of the expanded document with its place and its schema."""
    if isinstance(node, list):
        for number, part in enumerate(node):
            yield from examples_of(part, f"{place}/{number}")
    if not isinstance(node, dict):
        return
    schema = node.get("schema", node)
    if "example" in node:
        yield f"{place}/example", schema, node["example"]
    for name, example in node.get("examples", {}).items():
        yield f"{place}/examples/{name}", schema, example["value"]
    for key, part in node.items():
        if key not in {"example", "examples"}:
            yield from examples_of(part, f"{place}/{key}")


class UniqueKeys(yaml.SafeLoader):
    """Reads YAML and refuses a map that has a key twice, where the last would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"a key is there twice{node.start_mark}"
        return super().construct_mapping(node, deep)


def is_public(operation: dict[str, Any]) -> bool:
    """Say whether an operation needs no key (A1)."""
    return operation.get("security") == []


def error_examples(response: dict[str, Any]) -> list[dict[str, Any]]:
    media = response["content"]["application/json"]
    return [example["value"] for example in media["examples"].values()]


def test_the_document_is_valid_openapi_3_0_3() -> None:
    assert document["openapi"] == "3.0.3"
    OpenAPIV30SpecValidator(document).validate()


def test_no_key_of_the_document_is_written_twice() -> None:
    yaml.load(DOCUMENT.read_text(encoding="utf-8"), UniqueKeys)


def test_every_example_is_as_its_schema_says() -> None:
    found = list(examples_of(whole))
    assert len(found) > 50
    for place, schema, example in found:
        assert [*schema_problems(schema, example)] == [], place


def test_every_component_is_used_but_the_answer_to_unknown_paths() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    unused = {
        f"{kind}/{name}"
        for kind in ("schemas", "headers", "responses")
        for name in document["components"][kind]
        if f"'#/components/{kind}/{name}'" not in text
    }
    assert unused == {"responses/NotFound"}


@pytest.mark.parametrize("operation_id", operations)
def test_every_operation_has_examples_of_all_its_answers(operation_id: str) -> None:
    answers = expand(operations[operation_id]["responses"], document)
    keyless = {401, 403} if is_public(operations[operation_id]) else set[int]()
    for status, answer in answers.items():
        # The document itself needs no example of itself.
        assert (keyless and status == "200") or error_examples(answer), status
    assert {int(status) for status in answers} >= {200, 405, *GATEWAY_RESPONSES} - keyless


def test_the_error_codes_are_those_of_the_kernel() -> None:
    assert document["components"]["schemas"]["ErrorCode"]["enum"] == [*ErrorCode]


def test_each_code_has_an_example_at_its_status_and_at_no_other() -> None:
    operation_answers = [
        (int(status), answer)
        for operation in operations.values()
        for status, answer in expand(operation["responses"], document).items()
    ]
    not_found = (404, whole["components"]["responses"]["NotFound"])
    shown = {
        (ErrorCode(example["code"]), status)
        for status, answer in [*operation_answers, not_found]
        if status >= 400
        for example in error_examples(answer)
    }
    assert shown == set(STATUS_OF.items())


def test_the_error_table_is_that_of_the_kernel() -> None:
    rows = re.findall(
        r"^\| (\d{3}) \| `([A-Z_]+)` \|", document["info"]["description"], re.MULTILINE
    )
    assert [(ErrorCode(code), int(status)) for status, code in rows] == [*STATUS_OF.items()]


def test_the_statuses_are_those_of_the_kernel() -> None:
    assert document["components"]["schemas"]["StockStatus"]["enum"] == [*StockStatus]
    assert [status_of(units) for units in range(20)] == [stock_status(units) for units in range(20)]


def test_a_body_of_101_products_is_shown_with_the_agreed_message() -> None:
    example = document["components"]["responses"]["BadRequest"]["content"]["application/json"][
        "examples"
    ]["too_many_products"]["value"]
    assert (example["code"], example["message"]) == (
        "BATCH_SIZE_EXCEEDED",
        "Maximum 100 products per request",
    )


def test_the_key_and_the_request_id_are_those_of_the_kernel() -> None:
    scheme = document["components"]["securitySchemes"]["ApiKeyAuth"]
    assert (scheme["in"], scheme["name"]) == ("header", headers.API_KEY)
    assert all(environment.key_prefix in scheme["description"] for environment in Environment)
    assert headers.REQUEST_ID in document["components"]["headers"]
    pattern = f"^{headers.REQUEST_ID_PATTERN.pattern}$"
    assert document["components"]["headers"][headers.REQUEST_ID]["schema"]["pattern"] == pattern
    assert document["components"]["schemas"]["Error"]["properties"]["request_id"]["pattern"] == (
        pattern
    )


def test_the_tiers_are_those_of_the_gateway() -> None:
    ignored = yaml.safe_load(GATEWAY_POLICY.read_text(encoding="utf-8"))["_ignore"]
    tiers = next(part["tiers"] for part in ignored if "tiers" in part)
    limits = {name: tier["config"]["minute"] for name, tier in tiers.items() if name != "qa"}
    rows = re.findall(r"^\| (\w+) \| (\d+) \|$", document["info"]["description"], re.MULTILINE)
    assert {name: int(limit) for name, limit in rows} == limits


def test_production_sandbox_and_the_local_stack_are_named() -> None:
    assert [server["url"] for server in document["servers"]] == [
        "https://api.inventory.example",
        "https://sandbox-api.inventory.example",
        "http://localhost:8000",
    ]


def test_the_checker_takes_the_same_answers_as_the_operations() -> None:
    for operation in operations.values():
        for status, name in (GATEWAY_RESPONSES | UNKNOWN_METHOD).items():
            if is_public(operation) and status in {401, 403}:
                continue
            reference = operation["responses"][str(status)]["$ref"]
            assert reference == f"#/components/responses/{name}"
    assert set(UNKNOWN_PATH.values()) <= set(document["components"]["responses"])


@pytest.mark.parametrize(
    "bad_ids",
    [[], [""], ["x" * 65], ["A\n"], ["A\0B"], ["A\x7f"], ["A\x85"], [7], [None], ["A"] * 101, "A"],
    ids=repr,
)
def test_the_request_schema_refuses_bad_ids(bad_ids: Json) -> None:
    schema = whole["components"]["schemas"]["InventoryRequest"]
    assert [*schema_problems(schema, {"product_ids": bad_ids})]


def test_the_request_schema_takes_what_is_no_fault() -> None:
    schema = whole["components"]["schemas"]["InventoryRequest"]
    for good in (["A"], ["A", "A"], ["x" * 64], ["ä ,/\"'€😀"], ["A"] * 100):
        assert [*schema_problems(schema, {"product_ids": good})] == []
    assert [*schema_problems(schema, {"product_ids": ["A"], "more": 1})]
    assert [*schema_problems(schema, {})]
