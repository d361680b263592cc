"""Contract: each status, code, message and limit is in the document and in the code."""

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import yaml

from services.core.errors import STATUS_OF
from services.core.http import bodies, failures, gateway_only, request_scope
from services.local.gateway.plugins import error_envelope
from services.query import delta_route
from services.query.requests import BATCH_LIMIT
from services.webhooks.api import refusals
from tools.contract.check import GATEWAY_RESPONSES
from tools.contract.document import DOCUMENT, expand, load_document

Document = dict[str, Any]

document = load_document()
policy = yaml.safe_load((DOCUMENT.parents[2] / "gateway" / "kong.yml").read_text("utf-8"))


def shown(given: Document) -> set[tuple[int, str, str]]:
    """Return the status, code and message of each error that the document shows."""
    return {
        (int(status), example["value"]["code"], example["value"]["message"])
        for item in given["paths"].values()
        for operation in item.values()
        for status, answer in expand(operation["responses"], given).items()
        if int(status) >= 400
        for example in answer["content"]["application/json"]["examples"].values()
    }


def said_by_the_code() -> set[tuple[int, str, str]]:
    """Return the same of the gateway and the services, but for 400, whose messages name fields."""
    told = {each for each in vars(refusals).values() if isinstance(each, tuple)}
    told |= {*error_envelope.ANSWERS.values(), error_envelope.SUSPENDED}
    told |= {*failures.REFUSALS.values()}
    codes = {
        error_envelope.NO_KEY_MESSAGE: "UNAUTHORIZED",
        error_envelope.UNKNOWN_KEY_MESSAGE: "UNAUTHORIZED",
        error_envelope.SEVERAL_KEYS_MESSAGE: "UNAUTHORIZED",
        gateway_only.OTHER_ENVIRONMENT: "FORBIDDEN",
        delta_route.START_ANEW: "CURSOR_EXPIRED",
        failures.NOT_AVAILABLE: "SERVICE_UNAVAILABLE",
        request_scope.UNEXPECTED: "INTERNAL_ERROR",
        bodies.ENCODED.format("`gzip`"): "UNSUPPORTED_MEDIA_TYPE",
        f"Maximum {BATCH_LIMIT} products per request": "BATCH_SIZE_EXCEEDED",
    }
    told |= {(code, message) for message, code in codes.items()}
    status_of = {str(code): status for code, status in STATUS_OF.items()}
    return {
        (status_of[code], str(code), message) for code, message in told if code != "INVALID_REQUEST"
    }


def errors_that_differ(given: Document) -> set[tuple[int, str, str]]:
    free = "INVALID_REQUEST"
    return {each for each in shown(given) if each[1] != free} ^ said_by_the_code()


def test_each_error_of_the_code_is_shown_and_each_shown_one_is_in_the_code() -> None:
    assert errors_that_differ(document) == set()


def spoil_message(spoiled: Document) -> None:
    examples = spoiled["components"]["responses"]["CursorExpired"]["content"]["application/json"]
    examples["examples"]["cursor_expired"]["value"]["message"] = "Too old"


def drop_conflict(spoiled: Document) -> None:
    for item in spoiled["paths"].values():
        for operation in item.values():
            operation["responses"].pop("409", None)


def add_status(spoiled: Document) -> None:
    example = {"code": "TEAPOT", "message": "I am one", "request_id": "r-1"}
    spoiled["paths"]["/partner/v1/docs"]["get"]["responses"]["418"] = {
        "content": {"application/json": {"examples": {"teapot": {"value": example}}}}
    }


@pytest.mark.parametrize("spoil", [spoil_message, drop_conflict, add_status])
def test_an_error_on_one_side_only_is_found(spoil: Callable[[Document], None]) -> None:
    spoiled = deepcopy(document)
    spoil(spoiled)
    assert errors_that_differ(spoiled)


def test_what_the_gateway_itself_answers_is_documented_everywhere() -> None:
    instead = error_envelope.STATUS_INSTEAD
    answered = {instead.get(status, status) for status in error_envelope.ANSWERS}
    assert answered == set(GATEWAY_RESPONSES) | {404, 405}


def wrong_statuses(given: Document) -> list[str]:
    """Return what is wrong about the statuses that depend on an operation's form."""
    return [
        f"{operation['operationId']}: {status}"
        for path, item in given["paths"].items()
        for operation in item.values()
        for status, wanted in {
            "404": "{" in path,  # something that may not be there
            "415": "requestBody" in operation,
        }.items()
        if (status in operation["responses"]) != wanted
    ]


def test_404_and_415_are_where_a_path_has_an_id_and_where_a_body_is_sent() -> None:
    assert wrong_statuses(document) == []
    spoiled = deepcopy(document)
    del spoiled["paths"]["/partner/v1/webhooks/{webhookId}"]["get"]["responses"]["404"]
    assert wrong_statuses(spoiled) == ["getWebhook: 404"]


def plugin_config(service: str, name: str) -> dict[str, Any]:
    plugins = next(each for each in policy["services"] if each["name"] == service)["plugins"]
    return next(each["config"] for each in plugins if each["name"] == name)


def test_the_limits_by_address_and_the_sizes_are_those_of_the_gateway() -> None:
    told = " ".join(document["info"]["description"].split())
    anonymous = policy["consumers"][0]["plugins"][0]["config"]["minute"]
    assert f"counted by IP address, {anonymous} a minute" in told
    assert f"{plugin_config('documents', 'rate-limiting')['minute']} a minute" in told
    sizes = [
        plugin_config(service, "request-size-limiting")["allowed_payload_size"]
        for service in ("query-live", "webhooks-live", "documents")
    ]
    found = document["components"]["responses"]["PayloadTooLarge"]["description"]
    assert [int(size) for size in re.findall(r"(\d+) kB", found)] == sizes
