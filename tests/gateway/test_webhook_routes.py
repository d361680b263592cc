"""The routes of the webhooks: what reaches the service, which one, and how often."""

import pytest

from tests.gateway.envelope import assert_own_error
from tests.gateway.policy import (
    LIVE_KEY,
    SANDBOX_HOST,
    SANDBOX_KEY,
    SANDBOX_ONLY,
    WEBHOOKS,
    own_address,
    own_path,
)
from tests.gateway.recording_service import RecordingService, answers, closes
from tests.gateway.test_upstream_faults import BAD_GATEWAY
from tools.gateway_node import Node
from tools.wire import Wire, chunked, request

LIVE = ("X-API-Key", LIVE_KEY)
SANDBOX = ("X-API-Key", SANDBOX_KEY)
LIMIT = 16 * 1024  # bytes, gateway/kong.yml
NO_CONTENT = b"HTTP/1.1 204 No Content\r\nX-Request-ID: kept\r\n\r\n"

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@pytest.mark.parametrize("method", METHODS)
def test_each_method_arrives_with_its_body(
    node: Node, service: RecordingService, method: str
) -> None:
    path = own_path(WEBHOOKS)
    assert node.ask(method, path, LIVE, body=b'{"state": "active"}').status == 200
    seen = service.only(f"/webhooks-live{path}")
    assert (seen.method, seen.body) == (method, b'{"state": "active"}')
    assert seen.header("X-Consumer-Custom-ID") == "techmart:live"
    assert seen.header("X-API-Key") is None


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_chunked_body_arrives_with_each_method(
    node: Node, service: RecordingService, method: str
) -> None:
    path = own_path(WEBHOOKS)
    head = request(method, path, LIVE, ("Transfer-Encoding", "chunked"))
    with node.wire() as wire:
        wire.send(head + chunked(b'{"a":', b"1}"))
        assert wire.answer(method).status == 200
    assert service.only(f"/webhooks-live{path}").body == b'{"a":1}'


@pytest.mark.parametrize("prefix", [WEBHOOKS, SANDBOX_ONLY])
def test_the_sandboxs_webhooks_are_told_by_their_host(
    node: Node, service: RecordingService, prefix: str
) -> None:
    path = own_path(prefix)
    assert node.ask("PUT", path, SANDBOX, host=SANDBOX_HOST, body=b"{}").status == 200
    seen = service.only(f"/webhooks-sandbox{path}")
    assert seen.header("X-Consumer-Custom-ID") == "techmart:sandbox"


def test_a_webhook_is_never_made_without_a_key(node: Node) -> None:
    for host in ("gateway", SANDBOX_HOST):
        answer = node.ask("POST", WEBHOOKS, host=host, source=own_address(), body=b"{}")
        assert_own_error(answer, 401, "UNAUTHORIZED")


def test_live_has_no_path_for_what_only_the_sandbox_does(node: Node) -> None:
    for key in (LIVE, SANDBOX):
        answer = node.ask("PUT", own_path(SANDBOX_ONLY), key, body=b"{}")
        assert_own_error(answer, 404, "NOT_FOUND", "No such path")


def test_a_key_of_the_other_environment_is_refused(node: Node) -> None:
    assert_own_error(node.ask("POST", WEBHOOKS, SANDBOX, body=b"{}"), 403, "FORBIDDEN")
    for prefix in (WEBHOOKS, SANDBOX_ONLY):
        answer = node.ask("POST", prefix, LIVE, host=SANDBOX_HOST, body=b"{}")
        assert_own_error(answer, 403, "FORBIDDEN")


def test_the_webhooks_prefix_is_text_as_the_inventorys_is(
    node: Node, service: RecordingService
) -> None:
    path = own_path(f"{WEBHOOKS}xyz")
    assert node.ask("GET", path, LIVE).status == 200
    service.only(f"/webhooks-live{path}")


def test_a_cursor_of_the_delivery_log_arrives_as_it_was_sent(
    node: Node, service: RecordingService
) -> None:
    path = own_path(WEBHOOKS)
    query = "state=exhausted&limit=100&cursor=MDE5Yg%3D%3D"
    assert node.ask("GET", f"{path}/deliveries?{query}", LIVE).status == 200
    seen = service.only(f"/webhooks-live{path}/deliveries")
    assert seen.target == f"/webhooks-live{path}/deliveries?{query}"


def test_an_answer_without_a_body_passes_and_the_connection_stays(
    node: Node, service: RecordingService
) -> None:
    path = own_path(WEBHOOKS)
    service.behave(f"/webhooks-live{path}", answers(NO_CONTENT))
    with node.wire() as wire:
        for _ in range(2):
            wire.send(request("DELETE", path, LIVE))
            answer = wire.answer("DELETE")
            assert (answer.status, answer.body) == (204, b"")
            assert answer.header("Transfer-Encoding") is None


# nginx may send the other methods once more on a kept connection; twice does no harm there.
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_request_that_the_service_breaks_off_is_a_bad_gateway_and_was_sent_once(
    node: Node, service: RecordingService, method: str
) -> None:
    path = own_path(WEBHOOKS)
    service.behave(f"/webhooks-live{path}", closes)
    with node.wire() as wire:
        # The second one goes out on whatever the first has left behind.
        for times in (1, 2):
            wire.send(request(method, path, LIVE, body=b"{}"))
            assert_own_error(wire.answer(method), 502, "BAD_GATEWAY", BAD_GATEWAY)
            assert len(service.received(f"/webhooks-live{path}", times)) == times


def test_a_post_on_a_kept_connection_that_breaks_off_was_sent_once(
    node: Node, service: RecordingService
) -> None:
    good, broken = own_path(WEBHOOKS), own_path(WEBHOOKS)
    service.behave(f"/webhooks-live{broken}", closes)
    with node.wire() as wire:
        assert _posted(wire, good) == 200
        assert _posted(wire, broken) == 502
        assert _posted(wire, good) == 200
    assert len(service.received(f"/webhooks-live{broken}")) == 1


def _posted(wire: Wire, path: str) -> int:
    wire.send(request("POST", path, LIVE, body=b"{}"))
    return wire.answer("POST").status


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_body_over_the_limit_is_refused(node: Node, method: str) -> None:
    path = own_path(WEBHOOKS)
    assert node.ask(method, path, LIVE, body=b"x" * LIMIT).status == 200
    answer = node.ask(method, path, LIVE, body=b"x" * (LIMIT + 1))
    assert_own_error(answer, 413, "PAYLOAD_TOO_LARGE", "The request body is too large")
