"""The router: which route a request takes; tests/gateway asks a running gateway the same."""

import pytest

from services.core.environments import Environment
from services.policy.callers import Caller
from services.policy.explain import Request, explain
from services.policy.routing import Criteria, Router, normalise
from tests.unit.policy.broken import POLICY


def taken(routes: dict[str, Criteria], method: str, host: str, path: str) -> str | None:
    """Return the name of the route that a request takes."""
    router = Router((criteria, name) for name, criteria in routes.items())
    match = router.match(method, host.encode(), path)
    return match.route if match else None


# Two routes that both take the request; the first one wins.
RANKED: dict[str, tuple[Criteria, Criteria]] = {
    "more kinds of criteria": (
        Criteria(hosts=["a.example"], paths=["/a"]),
        Criteria(paths=["/a/longer"]),
    ),
    "a host over a method": (
        Criteria(hosts=["a.example"], paths=["/a"]),
        Criteria(methods=["GET"], paths=["/a/longer"]),
    ),
    "a whole host over a wildcard": (
        Criteria(hosts=["a.example"], paths=["/a"]),
        Criteria(hosts=["*.example"], paths=["/a/longer"]),
    ),
    "a regular expression over a prefix": (
        Criteria(paths=["~/[a-c]"]),
        Criteria(paths=["/a/longer"]),
    ),
    "a longer path": (Criteria(paths=["/a/longer"]), Criteria(paths=["/a"])),
    "the longest of several paths": (
        Criteria(paths=["/x", "/a/longer"]),
        Criteria(paths=["/a", "/a/long"]),
    ),
}


@pytest.mark.parametrize(("first", "second"), RANKED.values(), ids=RANKED.keys())
def test_the_more_specific_route_wins_in_whatever_order_they_stand(
    first: Criteria, second: Criteria
) -> None:
    asked = ("GET", "a.example", "/a/longer/still")
    assert taken({"first": first, "second": second}, *asked) == "first"
    assert taken({"second": second, "first": first}, *asked) == "first"
    assert taken({"second": second}, *asked) == "second"


@pytest.mark.parametrize(
    ("host", "asked", "is_taken"),
    [
        ("a.example", "a.example", True),
        ("a.example", "A.Example", True),
        ("A.example", "a.example", True),
        ("a.example", "a.example.", True),
        ("a.example", "a.example:8000", True),
        ("a.example", "A.EXAMPLE.:8000", True),
        ("a.example", "a.example:", False),
        ("a.example", "b.example", False),
        ("a.example", "", False),
        ("a.example:8443", "a.example:8443", True),
        ("a.example:8443", "a.example.:8443", True),
        ("a.example:8443", "a.example:8000", False),
        ("a.example:8443", "a.example", False),
        ("*.example", "a.b.example", True),
        ("*.example", "a.example:8000", True),
        ("*.example", "example", False),
        ("*.example", "a.example.org", False),
        ("*.example:80", "a.example:80", True),
        ("*.example:80", "a.example", False),
        ("a.*", "a.example", True),
        ("a.*", "aa.example", False),
    ],
)
def test_a_host_is_compared_in_whatever_way_it_is_written(
    host: str, asked: str, *, is_taken: bool
) -> None:
    routes = {"route": Criteria(hosts=[host])}
    assert (taken(routes, "GET", asked, "/") == "route") == is_taken


def test_a_method_is_compared_and_no_criterion_takes_all() -> None:
    assert taken({"put": Criteria(methods=["PUT"])}, "PUT", "", "/x") == "put"
    assert taken({"put": Criteria(methods=["PUT"])}, "GET", "", "/x") is None
    assert taken({"all": Criteria()}, "GET", "", "/x") == "all"


def test_a_match_says_how_much_of_the_path_it_took() -> None:
    router = Router([(Criteria(paths=["/a", "~/[b-d]+x"]), "route")])
    for path, length in (("/a/b", 2), ("/bcdx/y", 5)):
        match = router.match("GET", b"", path)
        assert match is not None
        assert match.length == length


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        (b"/a//b/./c/../d", b"/a/b/d"),
        (b"/%61%2f%2e", b"/a%2F."),
        (b"/a/..", b"/"),
        (b"/a b\xff", b"/a%20b%FF"),
    ],
)
def test_a_path_has_one_form(written: bytes, normal: bytes) -> None:
    assert normalise(written) == normal


@pytest.mark.parametrize(
    ("environment", "host", "path", "route"),
    [
        (Environment.LIVE, None, "/partner/v1/inventory/a", "inventory-live"),
        (Environment.SANDBOX, None, "/partner/v1/inventory/a", "inventory-sandbox"),
        (Environment.LIVE, "SANDBOX-API.Localhost.:1", "/partner/v1/webhooks", "webhooks-sandbox"),
        (Environment.LIVE, None, "/partner//v1/x/../%69nventory", "inventory-live"),
        (Environment.LIVE, None, "/partner/v1/docs/a", "documents"),
    ],
)
def test_explain_takes_the_route_that_the_gateway_takes(
    environment: Environment, host: str | None, path: str, route: str
) -> None:
    request = Request("GET", path, environment, host)
    found = explain(POLICY, "kong.yml", request, Caller("basic"))
    assert (found.route or "").startswith(f"{route} (line ")
