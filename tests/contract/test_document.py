"""Contract: the document is valid, its examples are true, and it says what the code says."""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import yaml
from msgspec.structs import fields
from openapi_spec_validator import OpenAPIV30SpecValidator

from services.core import headers
from services.core.environments import Environment
from services.core.errors import STATUS_OF, ErrorCode
from services.domain.events import STOCK_EVENTS, EventType
from services.domain.redelivery import REPLAY_MOST
from services.domain.stock import StockStatus, stock_status
from services.domain.webhooks.states import DeliveryState, DisabledReason, Simulation
from services.query.delta import GOOD_FOR
from services.query.delta_route import PAGE_MOST as CHANGES_MOST
from services.webhooks.api.requests import (
    HELD_BACK_MOST,
    OVERLAP_HOURS,
    OVERLAP_HOURS_MOST,
    PAGE,
    PAGE_MOST,
    QUANTITY_MOST,
    SETTABLE_STATES,
    SIMULATIONS_MOST,
)
from services.webhooks.delivery.outcome import LONGEST_RETRY_AFTER, AttemptOutcome
from services.webhooks.delivery.payload import render_payload
from services.webhooks.delivery.schedule import JITTER, MAX_ATTEMPTS
from services.webhooks.delivery.signatures import signature_headers
from services.webhooks.scheduler.retention import KEEP_CHANGES, KEEP_EVENTS
from services.webhooks.secrets import TEXT_CHARACTERS
from services.webhooks.settings import ApiSettings, WorkerSettings
from services.webhooks.targets import MAX_URL
from tools.contract.check import GATEWAY_RESPONSES, UNKNOWN_METHOD, UNKNOWN_PATH
from tools.contract.document import DOCUMENT, Json, expand, load_document, schema_problems
from tools.contract.stock_answers import status_of

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


def has_no_body(operation_id: str, status: str) -> bool:
    """Say whether an answer is 204, or a document, which needs no example of itself."""
    return status == "204" or (is_public(operations[operation_id]) and status == "200")


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


def test_every_component_is_used() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    unused = {
        f"{kind}/{name}"
        for kind in ("schemas", "headers", "parameters", "responses")
        for name in document["components"][kind]
        if f"'#/components/{kind}/{name}'" not in text
    }
    assert unused == set()


@pytest.mark.parametrize("operation_id", operations)
def test_every_operation_has_examples_of_all_its_answers(operation_id: str) -> None:
    answers = expand(operations[operation_id]["responses"], document)
    keyless = {401, 403} if is_public(operations[operation_id]) else set[int]()
    for status, answer in answers.items():
        assert has_no_body(operation_id, status) or error_examples(answer), status
    assert {int(status) for status in answers} >= {405, *GATEWAY_RESPONSES} - keyless
    assert len([status for status in answers if status.startswith("2")]) == 1


def test_the_error_codes_are_those_of_the_kernel() -> None:
    assert document["components"]["schemas"]["ErrorCode"]["enum"] == [*ErrorCode]


def test_each_code_has_an_example_at_its_status_and_at_no_other() -> None:
    operation_answers = [
        (int(status), answer)
        for operation in operations.values()
        for status, answer in expand(operation["responses"], document).items()
    ]
    shown = {
        (ErrorCode(example["code"]), status)
        for status, answer in operation_answers
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


def test_the_words_of_webhooks_are_those_of_the_code() -> None:
    schemas = document["components"]["schemas"]
    words: dict[str, tuple[list[str | None], list[str]]] = {
        "events": (schemas["EventType"]["enum"], [*STOCK_EVENTS]),
        "all events": (
            schemas["Delivery"]["properties"]["event_type"]["enum"],
            [*STOCK_EVENTS, EventType.WEBHOOK_PING],
        ),
        "states": (schemas["WebhookState"]["enum"], [*SETTABLE_STATES]),
        "reasons": (
            schemas["Webhook"]["properties"]["disabled_reason"]["enum"][:-1],
            [*DisabledReason],
        ),
        "deliveries": (schemas["DeliveryState"]["enum"], [*DeliveryState]),
        "outcomes": (schemas["Attempt"]["properties"]["outcome"]["enum"], [*AttemptOutcome]),
        "simulations": (schemas["Simulation"]["properties"]["outcome"]["enum"], [*Simulation]),
    }
    for name, (documented, known) in words.items():
        assert documented == known, name


def test_the_bounds_of_webhooks_are_those_of_the_code() -> None:
    schemas = document["components"]["schemas"]
    overlap = schemas["RotationRequest"]["properties"]["overlap_hours"]
    limit = document["components"]["parameters"]["PageLimit"]["schema"]
    assert (overlap["maximum"], overlap["default"]) == (OVERLAP_HOURS_MOST, OVERLAP_HOURS)
    assert (limit["maximum"], limit["default"]) == (PAGE_MOST, PAGE)
    assert schemas["DeliveryPage"]["properties"]["items"]["maxItems"] == PAGE_MOST
    assert schemas["QuantityRequest"]["properties"]["quantity"]["maximum"] == QUANTITY_MOST
    assert schemas["Simulation"]["properties"]["attempts"]["maximum"] == SIMULATIONS_MOST
    assert (
        f"; {HELD_BACK_MOST} at most for `out_of_order`"
        in (schemas["Simulation"]["properties"]["attempts"]["description"])
    )
    assert schemas["Replay"]["properties"]["scheduled"]["maximum"] == REPLAY_MOST
    assert schemas["WebhookUrl"]["maxLength"] == MAX_URL
    secret = schemas["GivenSecret"]
    assert (secret["minLength"], secret["maxLength"]) == (
        TEXT_CHARACTERS.start,
        TEXT_CHARACTERS.stop - 1,
    )


def test_the_bounds_of_the_delta_sync_are_those_of_the_code() -> None:
    told = " ".join(document["info"]["description"].split())
    assert f"A cursor is good for {GOOD_FOR.days} days;" in told
    assert timedelta(days=1) <= KEEP_CHANGES - GOOD_FOR
    schemas = document["components"]["schemas"]
    limit = operations["getInventoryChanges"]["parameters"][1]["schema"]
    assert (limit["maximum"], limit["default"]) == (CHANGES_MOST, CHANGES_MOST)
    for part in ("items", "removed"):
        assert schemas["InventoryChanges"]["properties"][part]["maxItems"] == CHANGES_MOST


def test_the_promises_about_webhooks_are_the_defaults_of_the_settings() -> None:
    told = " ".join(document["info"]["description"].split())
    api = {field.name: field.default for field in fields(ApiSettings)}
    worker = {field.name: field.default for field in fields(WorkerSettings)}
    assert f"A partner may have {api['endpoint_limit']} webhooks" in told
    assert f"port {' or '.join(api['target_ports'].split(','))}," in told
    assert f"within {worker['call_seconds']:g} seconds" in told
    assert f"has only failed for {worker['disable_after_days']:g} days" in told
    assert worker["retry_delays_seconds"] == "5,30,120,600"
    assert f"{MAX_ATTEMPTS} attempts at most, with about 5 s, 30 s, 2 min and 10 min" in told
    assert pytest.approx(1 / 5) == JITTER  # "each up to a fifth longer or shorter"
    assert f"Events are kept for {KEEP_EVENTS.days} days." in told
    assert timedelta(hours=1) == LONGEST_RETRY_AFTER  # "respected, up to 1 hour"


@pytest.mark.parametrize("subscribed", [*STOCK_EVENTS, EventType.WEBHOOK_PING])
def test_an_example_of_each_event_is_as_we_send_it(subscribed: EventType) -> None:
    sent = operations["registerWebhook"]["callbacks"]["event"]["{$request.body#/url}"]["post"]
    media = expand(sent["requestBody"], document)["content"]["application/json"]
    shown = [each["value"] for each in media["examples"].values()]
    example = next(each for each in shown if each["event_type"] == subscribed)
    body = render_payload(
        event_id=UUID(example["event_id"]),
        event_type=subscribed,
        occurred_at=datetime.fromisoformat(example["timestamp"]),
        data=json.dumps(example["data"]),
        retry_count=example["retry_count"],
    )
    assert json.loads(body) == example
    signed = signature_headers(["whsec_" + "A" * 32] * 2, message_id="", timestamp=1, body=body)
    documented = {part["name"]: part for part in expand(sent["parameters"], document)}
    assert documented.keys() == signed.keys()
    for name in ("X-Signature", "webhook-signature"):
        assert [*schema_problems(documented[name]["schema"], signed[name])] == []


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


def test_production_and_the_sandbox_are_named() -> None:
    assert [server["url"] for server in document["servers"]] == [
        "https://api.inventory.example",
        "https://sandbox-api.inventory.example",
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
