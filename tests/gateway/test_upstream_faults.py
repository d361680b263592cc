"""Services that refuse, hang, close, break off or talk nonsense; callers that go away."""

import socket
import time

import pytest

from tests.gateway.envelope import assert_own_error
from tests.gateway.policy import own_path
from tests.gateway.recording_service import (
    GOOD,
    Recorded,
    RecordingService,
    answers,
    closes,
    hangs,
    in_turn,
)
from tools.gateway_node import Node
from tools.wire import BrokenAnswerError, request

BAD_GATEWAY = "The service behind the gateway did not answer properly"
TIMEOUT = "The service behind the gateway took too long"


def test_a_service_that_refuses_connections_is_a_bad_gateway(node: Node) -> None:
    assert_own_error(node.ask("GET", "/closed"), 502, "BAD_GATEWAY", BAD_GATEWAY)


def test_a_service_without_an_address_is_not_available(node: Node) -> None:
    message = "The service is not available; try again"
    assert_own_error(node.ask("GET", "/nowhere"), 503, "SERVICE_UNAVAILABLE", message)


@pytest.mark.parametrize(
    "nonsense",
    [b"nonsense\r\n\r\n", b"\x00\xff\xfe\r\n\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 abc OK\r\n\r\n"],
)
def test_a_service_that_talks_nonsense_is_a_bad_gateway(
    node: Node, service: RecordingService, nonsense: bytes
) -> None:
    path = own_path("/impatient")
    service.behave(path, answers(nonsense, keep=False))
    assert_own_error(node.ask("POST", path), 502, "BAD_GATEWAY", BAD_GATEWAY)


def test_a_service_that_closes_is_a_bad_gateway_and_a_post_is_sent_once(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/persistent")
    service.behave(path, closes)
    assert_own_error(node.ask("POST", path, body=b"{}"), 502, "BAD_GATEWAY", BAD_GATEWAY)
    assert len(service.received(path)) == 1


def test_a_service_that_hangs_is_a_timeout_and_a_post_is_sent_once(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/persistent")
    service.behave(path, hangs)
    assert_own_error(node.ask("POST", path, body=b"{}"), 504, "GATEWAY_TIMEOUT", TIMEOUT)
    assert len(service.received(path)) == 1


def test_a_get_is_tried_again_as_often_as_the_policy_says(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/persistent")
    service.behave(path, hangs)
    began = time.monotonic()
    assert_own_error(node.ask("GET", path), 504, "GATEWAY_TIMEOUT", TIMEOUT)
    assert 1.1 < time.monotonic() - began < 5  # four times 0.3 s
    assert len(service.received(path)) == 4


def test_a_retry_that_succeeds_is_all_that_the_caller_sees(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/persistent")
    service.behave(path, in_turn(closes, hangs, answers(GOOD)))
    assert node.ask("PUT", path, body=b"again").status == 200
    assert [seen.body for seen in service.received(path, 3)] == [b"again"] * 3


def test_a_policy_without_retries_means_one_try(node: Node, service: RecordingService) -> None:
    path = own_path("/impatient")
    service.behave(path, closes)
    assert node.ask("GET", path).status == 502
    assert len(service.received(path)) == 1


def test_an_answer_that_breaks_off_is_not_made_to_look_whole(
    node: Node, service: RecordingService
) -> None:
    for start in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
    ):
        path = own_path("/open")
        service.behave(path, answers(start, keep=False))
        with pytest.raises(BrokenAnswerError):
            node.ask("GET", path)


def test_an_answer_that_stops_halfway_is_broken_off(node: Node, service: RecordingService) -> None:
    def stops(connection: socket.socket, recorded: Recorded) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
        return hangs(connection, recorded)

    path = own_path("/impatient")
    service.behave(path, stops)
    with pytest.raises(BrokenAnswerError):
        node.ask("GET", path)


def test_the_service_is_let_go_when_its_caller_goes_away(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/open")
    service.behave(path, hangs)
    with node.wire() as wire:
        wire.send(request("GET", path))
        seen = service.only(path)
    assert seen.given_up.wait(10)


def test_a_caller_that_goes_away_in_its_body_reaches_no_service(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/open")
    with node.wire() as wire:
        wire.send(request("POST", path, ("Content-Length", "100")) + b"part")
    assert node.ask("GET", path).status == 200
    assert [seen.method for seen in service.received(path)] == ["GET"]
