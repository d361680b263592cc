"""One request id for the caller, the service and the logs."""

import re

import pytest

from tests.gateway.envelope import assert_own_error
from tests.gateway.policy import own_path
from tests.gateway.recording_service import RecordingService, answers
from tools.gateway_node import Node

MADE = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")  # a UUID, or nginx's own kind


@pytest.mark.parametrize("request_id", ["abc-1", "A._-9", "x" * 64])
def test_a_good_request_id_is_kept(node: Node, service: RecordingService, request_id: str) -> None:
    path = own_path("/open")
    answer = node.ask("GET", path, ("X-Request-ID", request_id))
    assert answer.header("X-Request-ID") == request_id
    assert service.only(path).header("X-Request-ID") == request_id


def test_a_missing_request_id_is_made(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    made = node.ask("GET", path).header("X-Request-ID")
    assert made
    assert MADE.fullmatch(made)
    assert service.only(path).header("X-Request-ID") == made


@pytest.mark.parametrize(
    "request_id", ["a b", 'say "hi"', "x" * 65, "a,b", "<script>", "ümlaut", "abc\t1", "{}"]
)
def test_a_bad_request_id_is_replaced_before_the_service_sees_it(
    node: Node, service: RecordingService, request_id: str
) -> None:
    path = own_path("/open")
    made = node.ask("GET", path, ("X-Request-ID", request_id)).header("X-Request-ID")
    assert made
    assert MADE.fullmatch(made)
    assert service.only(path).header("X-Request-ID") == made


def test_two_request_ids_are_as_bad_as_a_wrong_one(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    made = node.ask("GET", path, ("X-Request-ID", "one"), ("X-Request-ID", "two"))
    seen = service.only(path).header("X-Request-ID")
    assert seen == made.header("X-Request-ID")
    assert seen not in (None, "one", "two")


def test_an_error_without_a_route_names_the_request_id_too(node: Node) -> None:
    answer = node.ask("GET", "/unknown", ("X-Request-ID", "mine-1"))
    assert_own_error(answer, 404, "NOT_FOUND")
    assert answer.json["request_id"] == "mine-1"


def test_a_bad_request_id_never_gets_into_an_error(node: Node) -> None:
    answer = node.ask("GET", "/unknown", ("X-Request-ID", '"}{"code":"X'))
    assert_own_error(answer, 404, "NOT_FOUND")
    assert MADE.fullmatch(answer.json["request_id"])


def test_the_caller_gets_the_gateway_s_request_id_and_not_the_service_s(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/open")
    data = b"HTTP/1.1 200 OK\r\nX-Request-ID: other\r\nContent-Length: 0\r\n\r\n"
    service.behave(path, answers(data))
    assert node.ask("GET", path, ("X-Request-ID", "mine-2")).header("X-Request-ID") == "mine-2"
