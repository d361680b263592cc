"""What a node tells Prometheus: the names and labels that rules and board build on.

They are those of Kong 3.9's documentation: KONG.md measured no metrics. GATEWAY=kong tries them.
"""

import re

import httpx

from tests.gateway.policy import INVENTORY, LIVE_KEY, own_path
from tools.gateway_node import Node
from tools.waiting import wait_for

LABELS = re.compile(r'(\w+)="([^"]*)"')


def test_an_answer_of_the_service_is_counted_under_its_service_and_route(node: Node) -> None:
    counted = {"service": "query-live", "route": "inventory-live", "code": "200"}
    wanted = {**counted, "source": "service", "workspace": "default", "consumer": ""}
    before = _value(node, "kong_http_requests_total", wanted)
    _get(node, own_path(INVENTORY), LIVE_KEY)
    wait_for(lambda: _value(node, "kong_http_requests_total", wanted) > before, "one more")


def test_an_answer_of_the_gateway_is_counted_as_its_own(node: Node) -> None:
    wanted = {"service": "query-live", "code": "401", "source": "kong"}
    before = _value(node, "kong_http_requests_total", wanted)
    _get(node, own_path(INVENTORY), "wrong")
    wait_for(lambda: _value(node, "kong_http_requests_total", wanted) > before, "one more")


def test_times_are_told_in_buckets_of_milliseconds(node: Node) -> None:
    _get(node, own_path(INVENTORY), LIVE_KEY)
    wanted = {"service": "query-live", "route": "inventory-live"}
    for part in ("request", "upstream", "kong"):
        name = f"kong_{part}_latency_ms"
        _wait_for_some(node, f"{name}_count", wanted)
        assert _value(node, f"{name}_bucket", {**wanted, "le": "+Inf"}) > 0


def test_no_series_names_a_partner(node: Node) -> None:
    _get(node, own_path(INVENTORY), LIVE_KEY)
    assert "techmart" not in _text(node)


def _wait_for_some(node: Node, name: str, wanted: dict[str, str]) -> None:
    wait_for(lambda: _value(node, name, wanted) > 0, name)


def _get(node: Node, path: str, key: str) -> None:
    url = f"http://{node.host}:{node.port}{path}"
    httpx.get(url, headers={"X-API-Key": key})


def _text(node: Node) -> str:
    answer = httpx.get(f"{node.admin_url}/metrics")
    assert answer.status_code == 200
    return answer.text


def _value(node: Node, name: str, wanted: dict[str, str]) -> float:
    """Return the sum of a metric's series that carry these labels."""
    total = 0.0
    for line in _text(node).splitlines():
        if line.startswith(name + "{"):
            labels = dict(LABELS.findall(line))
            if labels.items() >= wanted.items():
                total += float(line.rpartition(" ")[2])
    return total
