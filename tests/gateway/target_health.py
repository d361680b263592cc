"""Target health: which addresses of an upstream get requests, as a node shows it to Prometheus."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tools.gateway_node import Node


def states(node: Node, upstream: str) -> dict[str, str]:
    """Return the state of each address of an upstream."""
    text = httpx.get(f"{node.admin_url}/metrics").text
    return {
        sample.labels["address"]: sample.labels["state"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if family.name == "kong_upstream_target_health"
        and sample.labels["upstream"] == upstream
        and sample.value
    }
