"""gateway/kong.yml itself: what the platform team may rely on, whatever gateway runs it."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.core.http.health import ACCEPTING_PATH, CHECK_INTERVAL
from services.core.http.serving import LAME_DUCK, NOTICED
from services.policy import schema

POLICY = (Path(__file__).parents[3] / "gateway" / "kong.yml").read_text()
document: dict[str, Any] = yaml.safe_load(POLICY)
partner_services = [s for s in document["services"] if "public" not in s.get("tags", [])]
public_services = [s for s in document["services"] if "public" in s.get("tags", [])]


def plugin(service: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [p["config"] for p in service["plugins"] if p["name"] == name]
    return found


def test_no_plugin_of_a_service_is_an_alias_of_another() -> None:
    # An alias is one object to a YAML reader, and Kong would give it one id in two places.
    places = Counter(id(p) for s in document["services"] for p in s["plugins"])
    assert set(places.values()) == {1}


@pytest.mark.parametrize("service", partner_services, ids=lambda s: s["name"])
def test_a_partners_route_needs_a_key_of_its_environment(service: dict[str, Any]) -> None:
    key_auth = plugin(service, "key-auth")
    assert key_auth["hide_credentials"] is True
    assert key_auth["key_in_query"] is False
    assert key_auth["anonymous"] == "anonymous"
    assert plugin(service, "acl")["allow"] == [service["name"].rpartition("-")[2]]


@pytest.mark.parametrize("service", public_services, ids=lambda s: s["name"])
def test_what_is_public_is_limited_by_address_and_passes_no_key_on(
    service: dict[str, Any],
) -> None:
    assert plugin(service, "rate-limiting")["limit_by"] == "ip"
    assert plugin(service, "backend-token")["hide"] == ["X-API-Key"]
    assert all("public" in route["tags"] for route in service["routes"])


@pytest.mark.parametrize("service", document["services"], ids=lambda s: s["name"])
def test_every_service_has_its_own_size_and_time_limits(service: dict[str, Any]) -> None:
    assert plugin(service, "request-size-limiting")["require_content_length"] is False
    longest = 10_000 if service["name"].startswith("webhooks-") else 2_000  # milliseconds
    for limit in ("connect_timeout", "write_timeout", "read_timeout"):
        assert 0 < service[limit] <= longest
    assert service["connect_timeout"] <= 2_000


@pytest.mark.parametrize("service", document["services"], ids=lambda s: s["name"])
def test_a_failed_attempt_takes_its_process_out_before_all_retries_have_asked_it(
    service: dict[str, Any],
) -> None:
    # tests/gateway/test_replaced_processes.py shows that no request is lost so.
    (upstream,) = [u for u in document["upstreams"] if service["url"] == f"http://{u['name']}"]
    passive = upstream["healthchecks"]["passive"]["unhealthy"]
    assert passive == {"tcp_failures": 1, "timeouts": 1, "http_failures": 0}
    assert service["retries"] == 5


def test_checks_are_as_frequent_as_a_process_that_leaves_expects() -> None:
    for upstream in document["upstreams"]:
        active = upstream["healthchecks"]["active"]
        assert active["http_path"] == ACCEPTING_PATH == schema.ACCEPTING_PATH
        assert active["healthy"]["interval"] == CHECK_INTERVAL
        # A process that is back is noticed before the one that leaves next is taken out.
        assert active["unhealthy"]["interval"] <= CHECK_INTERVAL / 2
        assert active["unhealthy"]["http_failures"] == 3
    assert 3 * CHECK_INTERVAL < NOTICED < LAME_DUCK == schema.LAME_DUCK


def test_the_sandbox_has_hosts_of_its_own_and_live_has_none() -> None:
    own = ["sandbox-api.inventory.example", "sandbox-api.localhost"]
    for service in partner_services:
        for route in service["routes"]:
            expected = own if service["name"].endswith("-sandbox") else None
            assert route.get("hosts") == expected


def test_what_only_the_sandbox_has_is_routed_by_its_hosts_alone() -> None:
    routes = [
        route["name"]
        for service in document["services"]
        for route in service["routes"]
        if "/partner/v1/sandbox" in route["paths"]
    ]
    assert routes == ["webhooks-sandbox"]


def test_callers_without_a_good_key_are_limited_and_then_refused() -> None:
    (anonymous,) = document["consumers"]
    assert {acl["group"] for acl in anonymous["acls"]} == {"live", "sandbox"}
    assert plugin(anonymous, "rate-limiting")["limit_by"] == "ip"
    assert plugin(anonymous, "request-termination")["status_code"] == 401
