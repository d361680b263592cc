"""The embedded gateway finds the upstream of a service's url as Kong does: exactly as written."""

import json
from typing import cast

import pytest

from services.local.gateway.counters import CounterStores
from services.local.gateway.declarative import load
from services.local.gateway.plugins.base import Surroundings


@pytest.mark.parametrize(
    ("upstream", "url", "is_found"),
    [
        ("query", "http://query", True),
        ("query", "http://query:8101/v1", True),
        ("query", "http://Query", False),
        ("Query", "http://query", False),
        ("Query", "http://Query", True),
        ("query", "http://[::1]:8101", False),
    ],
)
def test_an_upstream_is_found_by_its_name_exactly_as_written(
    upstream: str, url: str, *, is_found: bool
) -> None:
    document = {
        "_format_version": "3.0",
        "upstreams": [{"name": upstream, "targets": [{"target": "127.0.0.1:8101"}]}],
        "services": [{"name": "s", "url": url, "routes": [{"name": "r", "paths": ["/"]}]}],
    }
    surroundings = Surroundings({}, lambda: 0.0, cast("CounterStores", None))
    match = load(json.dumps(document), surroundings).router.match("GET", b"", "/")
    assert match is not None
    assert (match.route.service.upstream is not None) == is_found
