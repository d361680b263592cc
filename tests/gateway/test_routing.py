"""Which service a request goes to."""

import pytest

from tests.gateway.envelope import assert_own_error
from tests.gateway.policy import INVENTORY, LIVE_KEY, SANDBOX_HOST, SANDBOX_KEY, own_path
from tests.gateway.recording_service import RecordingService
from tools.gateway_node import Node

KEY = ("X-API-Key", LIVE_KEY)


def test_an_unknown_path_is_not_found_before_any_key_is_asked_for(node: Node) -> None:
    answer = node.ask("GET", "/unknown")
    assert_own_error(answer, 404, "NOT_FOUND", "No such path")


def test_an_unknown_path_answers_in_json_also_to_a_browser(node: Node) -> None:
    answer = node.ask("GET", "/unknown", ("Accept", "text/html"))
    assert_own_error(answer, 404, "NOT_FOUND")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "api.inventory.example:8000"])
def test_any_other_host_is_live(node: Node, service: RecordingService, host: str) -> None:
    path = own_path()
    assert node.ask("GET", path, KEY, host=host).status == 200
    assert service.only(path).header("X-Consumer-Username") == "techmart"


@pytest.mark.parametrize(
    "host",
    [
        SANDBOX_HOST,
        f"{SANDBOX_HOST}:8000",
        SANDBOX_HOST.upper(),
        "Sandbox-API.localhost",
        "Sandbox-Api.Localhost:8000",
        f"{SANDBOX_HOST}.",
        f"{SANDBOX_HOST.title()}.:8000",
        "sandbox-api.inventory.example",
        "sandbox-api.Inventory.Example",
    ],
)
def test_the_sandbox_is_told_by_its_host(node: Node, service: RecordingService, host: str) -> None:
    path = own_path()
    assert node.ask("GET", path, ("X-API-Key", SANDBOX_KEY), host=host).status == 200
    assert service.only(f"/sandbox{path}").header("X-Consumer-Username") == "techmart.sandbox"


def test_a_prefix_is_text_and_not_segments(node: Node, service: RecordingService) -> None:
    path = own_path(f"{INVENTORY}xyz")
    assert node.ask("GET", path, KEY).status == 200
    service.only(path)


def test_the_longer_path_wins(node: Node, service: RecordingService) -> None:
    path = own_path("/open/longer")
    assert node.ask("GET", path).status == 200
    service.only(f"/longer{path}")


def test_a_regular_expression_wins_over_a_prefix(node: Node, service: RecordingService) -> None:
    path = "/re1-and-much-longer-than-that"
    assert node.ask("GET", path).status == 200
    service.only(f"/regex{path}")


def test_a_route_with_a_host_wins_over_one_without(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    assert node.ask("GET", path, host="host.example").status == 200
    service.only(f"/by-host{path}")


def test_a_route_with_a_host_wins_over_one_with_a_method_and_a_longer_path(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/open/verb")
    assert node.ask("GET", path, host="host.example").status == 200
    assert node.ask("GET", path).status == 200
    service.only(f"/by-host{path}")
    service.only(f"/by-verb{path}")


def test_a_port_in_a_route_is_compared_too(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    assert node.ask("GET", path, host="port.example:8443").status == 200
    service.only(f"/by-port{path}")
    assert node.ask("GET", path, host="port.example:9999").status == 200
    service.only(path)


def test_a_route_for_one_method_takes_no_other(node: Node, service: RecordingService) -> None:
    path = own_path("/method")
    assert node.ask("PUT", path).status == 200
    service.only(f"/by-method{path}")
    assert_own_error(node.ask("GET", path), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("/open/../partner/v1/inventory/{}", "/partner/v1/inventory/{}"),
        ("/partner/v1/./inventory/{}", "/partner/v1/inventory/{}"),
        ("/partner//v1///inventory/{}", "/partner/v1/inventory/{}"),
        ("/partner/v1/%69nventory/{}", "/partner/v1/inventory/{}"),
        ("/open/%2e%2e/partner/v1/inventory/{}", "/partner/v1/inventory/{}"),
        ("/partner/v1/inventory/a%2fb/{}", "/partner/v1/inventory/a%2Fb/{}"),
        ("/partner/v1/inventory/sp%20ace/{}", "/partner/v1/inventory/sp%20ace/{}"),
    ],
)
def test_no_spelling_of_a_path_gets_round_a_route(
    node: Node, service: RecordingService, sent: str, seen: str
) -> None:
    own = own_path("").strip("/")
    assert node.ask("GET", sent.format(own), KEY).status == 200
    assert service.only(seen.format(own)).header("X-Consumer-Username") == "techmart"


def test_a_path_that_climbs_out_of_its_route_is_not_found(node: Node) -> None:
    answer = node.ask("GET", f"{INVENTORY}/../../../health", KEY)
    assert_own_error(answer, 404, "NOT_FOUND")


def test_a_route_can_strip_its_path_and_a_service_can_have_one(
    node: Node, service: RecordingService
) -> None:
    path = own_path("")
    assert node.ask("GET", f"/strip{path}").status == 200
    service.only(f"/base{path}")


def test_an_absolute_url_is_routed_by_its_own_host(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    answer = node.ask("GET", f"http://host.example{path}")
    assert answer.status == 200
    service.only(f"/by-host{path}")


def test_a_query_arrives_as_it_was_sent(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    query = "product_ids=A%2CB,C&x=%20+&&y=/../"
    assert node.ask("GET", f"{path}?{query}").status == 200
    assert service.only(path).target == f"{path}?{query}"
