"""The numbers that Prometheus fetches; not through the gateway (D4)."""

import re
from pathlib import Path

import httpx
import yaml

from tests.query_process import QueryProcess

INVENTORY = "/partner/v1/inventory"


def counts(query: QueryProcess) -> dict[str, int]:
    answer = httpx.get(f"{query.base_url}/metrics", trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    found = re.findall(
        r'http_request_duration_seconds_count\{status="(...)"\} ([0-9.]+)', answer.text
    )
    assert "process_resident_memory_bytes" in answer.text
    return {status: int(float(count)) for status, count in found}


def test_answers_are_counted_by_the_class_of_their_status(partner: QueryProcess) -> None:
    before = counts(partner)
    with partner.client() as client:
        for _ in range(3):
            client.post(INVENTORY, json={"product_ids": ["PROD-00001"]})
        client.post(INVENTORY, json={"product_ids": []})
    after = counts(partner)
    # What fetched the first numbers is among the second.
    assert after["2xx"] - before["2xx"] == 3 + 1
    assert after["4xx"] - before["4xx"] == 1
    assert after["5xx"] == before["5xx"]


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
