"""The embedded gateway reads a declarative file as Kong does, and refuses the rest by name."""

import json
from typing import Any, cast

import pytest

from services.local.gateway.counters import CounterStores
from services.local.gateway.declarative import load
from services.local.gateway.plugins.base import Surroundings
from services.local.gateway.refusal import InvalidConfigurationError

SURROUNDINGS = Surroundings({}, lambda: 0.0, cast("CounterStores", None))


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
    match = load(json.dumps(document), SURROUNDINGS).router.match("GET", b"", "/")
    assert match is not None
    assert (match.route.service.upstream is not None) == is_found


def one_route(**fields: object) -> str:
    service = {"name": "s", "url": "http://s", "routes": [{"name": "r", "paths": ["/"], **fields}]}
    return json.dumps({"_format_version": "3.0", "services": [service]})


@pytest.mark.parametrize(
    "fields",
    [{"preserve_host": False}, {"path_handling": "v0"}, {"protocols": ["http", "https"]}],
    ids=lambda fields: next(iter(fields)),
)
def test_a_field_that_it_does_not_run_is_taken_with_kongs_default(fields: dict[str, Any]) -> None:
    assert load(one_route(**fields), SURROUNDINGS).router.match("GET", b"", "/") is not None


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"preserve_host": True}, "preserve_host: must be false in the embedded gateway"),
        ({"headers": {"a": ["b"]}}, "headers: is not for the embedded gateway: take it out"),
        ({"snis": ["a"]}, "snis: routes differ by hosts and paths here"),
        (
            {"plugins": [{"name": "correlation-id"}]},
            "config.generator: Kong's default is uuid#counter: it must be uuid in the embedded",
        ),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_a_value_that_it_does_not_run_is_refused_with_the_reason(
    fields: dict[str, Any], fault: str
) -> None:
    with pytest.raises(InvalidConfigurationError) as refused:
        load(one_route(**fields), SURROUNDINGS)
    assert fault in str(refused.value)
