"""Bodies in both directions: whole, in chunks, in pieces, too large."""

import socket
import threading
import time

import pytest

from tests.gateway.envelope import assert_own_error
from tests.gateway.policy import LIVE_KEY, own_path
from tests.gateway.recording_service import Recorded, RecordingService, answers
from tools.gateway_node import Node
from tools.wire import Wire, chunked, request

KEY = ("X-API-Key", LIVE_KEY)
LIMIT = 128 * 1024  # bytes, gateway/kong.yml
TOO_LARGE = "The request body is too large"


def head(path: str, *lines: str) -> bytes:
    """Return the head of a POST with the live key."""
    fixed = [f"POST {path} HTTP/1.1", "Host: gateway", f"X-API-Key: {LIVE_KEY}"]
    return "\r\n".join([*fixed, *lines, "", ""]).encode()


@pytest.mark.parametrize("body", [b"{}", b"\x00\xff" * 500, b"x" * LIMIT])
def test_a_body_arrives_as_it_was_sent(node: Node, service: RecordingService, body: bytes) -> None:
    path = own_path()
    assert node.ask("POST", path, KEY, body=body).status == 200
    assert service.only(path).body == body


def test_an_empty_post_arrives(node: Node, service: RecordingService) -> None:
    path = own_path()
    assert node.ask("POST", path, KEY, ("Content-Length", "0")).status == 200
    seen = service.only(path)
    assert (seen.method, seen.body) == ("POST", b"")


def test_a_chunked_body_arrives(node: Node, service: RecordingService) -> None:
    path = own_path()
    with node.wire() as wire:
        wire.send(head(path, "Transfer-Encoding: chunked") + chunked(b"ab", b"c" * 1000, b"d"))
        assert wire.answer().status == 200
    assert service.only(path).body == b"ab" + b"c" * 1000 + b"d"


def test_a_request_split_at_every_byte_arrives(node: Node, service: RecordingService) -> None:
    path = own_path()
    data = head(path, "Transfer-Encoding: chunked") + chunked(b"ab", b"cde")
    with node.wire() as wire:
        for place in range(len(data)):
            wire.send(data[place : place + 1])
        assert wire.answer().status == 200
    assert service.only(path).body == b"abcde"


def test_a_declared_length_over_the_limit_is_refused_before_the_body_comes(node: Node) -> None:
    with node.wire() as wire:
        wire.send(head(own_path(), f"Content-Length: {LIMIT + 1}"))
        assert_own_error(wire.answer(), 413, "PAYLOAD_TOO_LARGE", TOO_LARGE)


def test_ten_megabytes_are_refused_and_the_caller_can_read_why(node: Node) -> None:
    with node.wire() as wire:
        wire.send(head(own_path(), "Content-Length: 10000000"))
        sending = threading.Thread(target=_send_all, args=(wire, b"x" * 10_000_000))
        sending.start()
        assert_own_error(wire.answer(), 413, "PAYLOAD_TOO_LARGE", TOO_LARGE)
        wire.close()
        sending.join()


def _send_all(wire: Wire, data: bytes) -> None:
    try:
        wire.send(data)
    except OSError:
        return  # the gateway need not read what it refused


def test_chunks_over_the_limit_are_refused(node: Node, service: RecordingService) -> None:
    path = own_path()
    body = chunked(*[b"x" * 8192] * 17)
    with node.wire() as wire:
        wire.send(head(path, "Transfer-Encoding: chunked") + body)
        assert_own_error(wire.answer(), 413, "PAYLOAD_TOO_LARGE", TOO_LARGE)
    assert node.ask("GET", path, KEY).status == 200
    assert [seen.method for seen in service.received(path)] == ["GET"]


def test_endless_chunks_are_refused_without_their_end(embedded_only: None, node: Node) -> None:
    """Kong reads a chunked body to its end first."""
    with node.wire() as wire:
        wire.send(head(own_path(), "Transfer-Encoding: chunked"))
        wire.send(b"2000\r\n" + b"x" * 8192 + b"\r\n")
        wire.send((b"2000\r\n" + b"x" * 8192 + b"\r\n") * 16)
        assert_own_error(wire.answer(), 413, "PAYLOAD_TOO_LARGE", TOO_LARGE)


def test_one_byte_over_the_limit_is_refused_in_chunks_and_the_limit_is_not(
    node: Node, service: RecordingService
) -> None:
    for size, status in ((LIMIT, 200), (LIMIT + 1, 413)):
        path = own_path()
        with node.wire() as wire:
            wire.send(head(path, "Transfer-Encoding: chunked") + chunked(b"x" * size))
            assert wire.answer().status == status


def test_a_connection_lives_on_after_a_body_was_refused(node: Node) -> None:
    with node.wire() as wire:
        wire.send(head(own_path(), f"Content-Length: {LIMIT + 1}") + b"x" * (LIMIT + 1))
        assert wire.answer().status == 413
        wire.send(request("GET", own_path(), KEY))
        assert wire.answer().status == 200


def test_a_caller_that_waits_to_send_its_body_is_told_to_go_on(
    node: Node, service: RecordingService
) -> None:
    path = own_path()
    with node.wire() as wire:
        wire.send(head(path, "Content-Length: 2", "Expect: 100-continue"))
        assert wire.head().status == 100
        wire.send(b"{}")
        assert wire.answer().status == 200
    seen = service.only(path)
    assert (seen.body, seen.header("Expect")) == (b"{}", None)


def test_a_caller_that_waits_to_send_too_much_is_told_not_to(node: Node) -> None:
    with node.wire() as wire:
        wire.send(head(own_path(), f"Content-Length: {LIMIT + 1}", "Expect: 100-continue"))
        answer = wire.answer()
        if answer.status == 100:  # nginx may say so first
            answer = wire.answer()
        assert_own_error(answer, 413, "PAYLOAD_TOO_LARGE")


def test_a_large_body_arrives_where_there_is_no_limit(
    node: Node, service: RecordingService
) -> None:
    for framing in ("length", "chunks"):
        path = own_path("/open")
        body = bytes(range(256)) * 12_000  # 3 MB
        with node.wire() as wire:
            if framing == "length":
                wire.send(request("POST", path, body=body))
            else:
                data = chunked(*[body[at : at + 50_000] for at in range(0, len(body), 50_000)])
                wire.send(request("POST", path, ("Transfer-Encoding", "chunked")) + data)
            assert wire.answer().status == 200
        assert service.only(path).body == body


def test_a_large_answer_arrives_whole_at_a_slow_reader(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/open")
    body = bytes(range(256)) * 20_000  # 5 MB, more than all buffers on the way
    service.behave(
        path, answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    )
    with node.wire() as wire:
        wire.send(request("GET", path))
        answer = wire.head()
        assert answer.header("Content-Length") == str(len(body))
        time.sleep(0.1)  # the reader is slow: what is not read has to wait on the way
        assert wire.exactly(len(body)) == body


def test_a_reader_that_stops_stops_the_service_too(
    embedded_only: None, node: Node, service: RecordingService
) -> None:
    """Kong's nginx may put what nobody reads into a file."""
    path = own_path("/open")
    all_sent = threading.Event()

    def endless(connection: socket.socket, recorded: Recorded) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(100):
            connection.sendall(b"x" * 1_000_000)
        all_sent.set()
        return True

    service.behave(path, endless)
    with node.wire() as wire:
        wire.send(request("GET", path))
        assert wire.head().status == 200
        assert not all_sent.wait(0.5)


def test_an_answer_is_passed_on_while_it_is_still_being_made(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/open")
    go_on = threading.Event()

    def dripping(connection: socket.socket, recorded: Recorded) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert go_on.wait(10)
        connection.sendall(b"4\r\nlast\r\n0\r\n\r\n")
        return True

    service.behave(path, dripping)
    with node.wire() as wire:
        wire.send(request("GET", path))
        assert wire.head().status == 200
        first = wire.chunk()
        go_on.set()
        rest = list(iter(wire.chunk, b""))
        assert first + b"".join(rest) == b"firstlast"


def test_the_head_of_an_answer_is_passed_on_before_its_body_begins(
    embedded_only: None, node: Node, service: RecordingService
) -> None:
    """Kong's nginx may hold a head back for a moment."""
    path = own_path("/open")
    go_on = threading.Event()

    def late(connection: socket.socket, recorded: Recorded) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        assert go_on.wait(10)
        connection.sendall(b"ok")
        return True

    service.behave(path, late)
    with node.wire() as wire:
        wire.send(request("GET", path))
        assert wire.head().status == 200
        go_on.set()
        assert wire.exactly(2) == b"ok"


def test_head_has_the_length_and_no_body(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    service.behave(path, answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"))
    with node.wire() as wire:
        wire.send(request("HEAD", path) + request("GET", own_path("/open")))
        answer = wire.answer("HEAD")
        assert (answer.status, answer.header("Content-Length")) == (200, "1234")
        assert wire.answer().status == 200
    assert service.only(path).method == "HEAD"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_an_answer_that_can_have_no_body_ends_at_its_head(
    node: Node, service: RecordingService, status: str
) -> None:
    path = own_path("/open")
    service.behave(path, answers(f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode()))
    with node.wire() as wire:
        wire.send(request("GET", path) + request("GET", own_path("/open")))
        answer = wire.answer()
        assert (answer.status, answer.header("ETag")) == (int(status[:3]), "x")
        assert answer.header("Transfer-Encoding") is None
        assert wire.answer().status == 200


def test_a_body_that_ends_with_the_service_s_connection_arrives_whole(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/open")
    service.behave(path, answers(b"HTTP/1.1 200 OK\r\n\r\n" + b"y" * 3000, keep=False))
    assert node.ask("GET", path).body == b"y" * 3000
