"""The table of Kong's fields says what a node says of itself."""

from typing import Any

import httpx
import pytest

from services.policy.fields import Field, Fields
from services.policy.schema import ENTITIES, PLUGINS
from tests.gateway.nodes import Node

pytestmark = pytest.mark.usefixtures("kong_only")

KINDS = {
    "string": str,
    "foreign": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "set": list,
    "map": dict,
    "record": dict,
}
# Fields that take less than Kong does, on purpose; their defaults are Kong's all the same.
NARROWER = {
    "routes.methods": "any word in upper case is a method to Kong",
    "routes.protocols": "HTTP only",
    "plugins.protocols": "HTTP and gRPC only",
    "rate-limiting.minute": "whole requests",
    "rate-limiting.sync_rate": "-1 only",
    "rate-limiting.error_code": "429 only",
    "rate-limiting.redis.database": "a Valkey has no negative ones",
    "request-size-limiting.allowed_payload_size": "no negative sizes",
}
# A declarative file may have it in place of protocol, host, port and path.
SHORTHANDS = {"services.url"}


def records(fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: known for each in fields for name, known in each.items()}


def compare(path: str, ours: Fields, kongs: dict[str, Any]) -> None:
    assert set(kongs) <= set(ours), path
    for name, known in ours.usable.items():
        if f"{path}.{name}" not in SHORTHANDS:
            assert name in kongs, f"{path}.{name}"
            compare_field(f"{path}.{name}", known, kongs[name])


def compare_field(path: str, ours: Field, kongs: dict[str, Any]) -> None:
    if ours.fields:
        compare(path, ours.fields, records(kongs["fields"]))
        return
    assert ours.default == kongs.get("default"), path
    assert ours.referenceable == kongs.get("referenceable", False), path
    if path in NARROWER:
        return
    elements = kongs.get("elements", {})
    assert ours.kind is KINDS[kongs["type"]], path
    assert ours.elements is (KINDS[elements["type"]] if elements else None), path
    assert set(ours.one_of) == set(kongs.get("one_of") or elements.get("one_of") or ()), path
    assert ours.between == (tuple(kongs["between"]) if "between" in kongs else None), path


@pytest.mark.parametrize("kind", ENTITIES)
def test_the_fields_of_an_entity_are_kongs(node: Node, kind: str) -> None:
    schema = httpx.get(f"{node.admin_url}/schemas/{kind}").json()
    fields = records(schema["fields"])
    fields.pop("config", None)  # each plugin's own
    compare(kind, ENTITIES[kind].fields, fields)


@pytest.mark.parametrize("name", PLUGINS)
def test_the_fields_of_a_plugin_and_where_it_may_stand_are_kongs(node: Node, name: str) -> None:
    schema = httpx.get(f"{node.admin_url}/schemas/plugins/{name}").json()
    fields = records(schema["fields"])
    compare(name, PLUGINS[name].fields, records(fields["config"]["fields"]))
    refused = {scope for scope in ("service", "route", "consumer") if scope in fields}
    assert refused.isdisjoint(PLUGINS[name].scopes)


def test_plugins_run_in_the_order_of_their_priorities_in_kong(node: Node) -> None:
    available = httpx.get(node.admin_url).json()["plugins"]["available_on_server"]
    kongs = {name: available[name]["priority"] for name in PLUGINS}
    assert kongs == {name: plugin.priority for name, plugin in PLUGINS.items()}
