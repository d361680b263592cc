"""The numbers that Prometheus fetches; not through the gateway (D4)."""

import re
from collections import Counter
from pathlib import Path

import httpx
import yaml

from tools.query_process import QueryProcess

INVENTORY = "/partner/v1/inventory"


def counts(query: QueryProcess) -> Counter[tuple[str, str]]:
    answer = httpx.get(f"{query.base_url}/metrics", trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    found = re.findall(
        r'http_request_duration_seconds_count\{route="(.*?)",status="(...)"\} ([0-9.]+)',
        answer.text,
    )
    assert "process_resident_memory_bytes" in answer.text
    return Counter({(route, status): int(float(count)) for route, status, count in found})


def test_answers_are_counted_by_the_class_of_their_status(partner: QueryProcess) -> None:
    before = counts(partner)
    with partner.client() as client:
        for _ in range(3):
            client.post(INVENTORY, json={"product_ids": ["PROD-00001"]})
        client.post(INVENTORY, json={"product_ids": []})
    # What fetched the first numbers is among the second.
    assert counts(partner) - before == {
        (INVENTORY, "2xx"): 3,
        (INVENTORY, "4xx"): 1,
        ("/metrics", "2xx"): 1,
    }


def test_the_gateway_has_no_route_to_them() -> None:
    policy = yaml.safe_load((Path(__file__).parents[3] / "gateway" / "kong.yml").read_text())
    paths = [
        path
        for service in policy["services"]
        for route in service.get("routes", [])
        for path in route.get("paths", [])
    ]
    assert paths
    assert not [path for path in paths if "metrics" in path or path in ("/", "~/")]
