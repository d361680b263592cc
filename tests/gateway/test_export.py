"""GET /config: what runs, as flat lists of entities that name each other by id."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import yaml

from tests.gateway.policy import LIVE_ID, LIVE_KEY, LIVE_KEY_ID
from tools.gateway_node import Document, Node

Publish = Callable[[Document | str], None]


def exported(node: Node) -> dict[str, Any]:
    """Return the document of GET /config."""
    answer = httpx.get(f"{node.admin_url}/config", timeout=30)
    assert answer.status_code == 200
    text = answer.json()["config"]
    assert isinstance(text, str)
    return yaml.load(text, Loader=yaml.CSafeLoader)


def test_an_export_has_what_was_posted_with_parents_by_id(node: Node, policy: Document) -> None:
    found = exported(node)
    assert found["_format_version"] == "3.0"
    services = {service["name"]: service for service in found["services"]}
    assert set(services) == {service["name"] for service in policy["services"]}
    (route,) = [route for route in found["routes"] if route["name"] == "inventory-live"]
    assert route["service"] == services["query-live"]["id"]
    assert route["paths"] == ["/partner/v1/inventory"]
    (acl,) = [
        plugin
        for plugin in found["plugins"]
        if plugin["name"] == "acl" and plugin.get("service") == services["query-live"]["id"]
    ]
    assert acl["config"]["allow"] == ["live"]
    (credential,) = [c for c in found["keyauth_credentials"] if c["id"] == str(LIVE_KEY_ID)]
    assert (credential["key"], credential["consumer"]) == (LIVE_KEY, str(LIVE_ID))
    assert {"group": "live", "consumer": str(LIVE_ID)}.items() <= next(
        entry.items() for entry in found["acls"] if entry["consumer"] == str(LIVE_ID)
    )


def test_an_export_follows_a_publish(node: Node, publish: Publish) -> None:
    publish(json.dumps({"_format_version": "3.0", "consumers": [{"username": "alone"}]}))
    found = exported(node)
    assert [consumer["username"] for consumer in found["consumers"]] == ["alone"]
    assert not found.get("services")
