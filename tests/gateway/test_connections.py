"""Connections of callers: kept, pipelined, slow, malformed."""

import contextlib
import socket
import time

import pytest

from tests.gateway.envelope import assert_own_error
from tests.gateway.policy import INVENTORY, LIVE_KEY, WEBHOOKS, own_path
from tests.gateway.recording_service import GOOD, Recorded, RecordingService, answers, hangs
from tools.gateway_node import Node
from tools.wire import BrokenAnswerError, Wire, chunked, request

MALFORMED = "The request is malformed"


def test_a_connection_carries_many_requests(node: Node) -> None:
    data = request("POST", "/open/kept", ("X-API-Key", LIVE_KEY), body=b"x" * 100)
    with node.wire() as wire:
        for _ in range(500):  # 100 kB in all, more than one head may have
            wire.send(data)
            assert wire.answer().status == 200


def test_a_caller_can_ask_to_close(node: Node) -> None:
    with node.wire() as wire:
        wire.send(request("GET", "/open", ("Connection", "close")))
        answer = wire.answer()
        assert (answer.status, answer.header("Connection")) == (200, "close")
        assert wire.rest() == b""


def test_http_1_0_is_answered_and_closed(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    service.behave(
        path, answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"ab"))
    )
    with node.wire() as wire:
        wire.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = wire.answer()
        assert (answer.status, answer.body) == (200, b"ab")
        assert answer.header("Transfer-Encoding") is None


def test_pipelined_requests_are_answered_in_their_order(
    node: Node, service: RecordingService
) -> None:
    paths = [own_path("/open") for _ in range(20)]

    def named(name: str, delay: float) -> None:
        body = name.encode()
        data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

        def behave(connection: socket.socket, recorded: Recorded) -> bool:
            time.sleep(delay)
            return answers(data)(connection, recorded)

        service.behave(name, behave)

    for place, path in enumerate(paths):
        named(path, 0.05 if place == 0 else 0)  # the first is the slowest
    with node.wire() as wire:
        wire.send(b"".join(request("POST", path, body=b"{}") for path in paths))
        assert [wire.answer().body.decode() for _ in paths] == paths


def test_a_malformed_request_is_answered_after_the_good_ones_before_it(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/open")

    def slow(connection: socket.socket, recorded: Recorded) -> bool:
        time.sleep(0.05)
        return answers(GOOD)(connection, recorded)

    service.behave(path, slow)
    with node.wire() as wire:
        wire.send(request("GET", path) * 2 + b"no request\r\n\r\n")
        assert [wire.answer().status for _ in range(2)] == [200, 200]
        assert_own_error(wire.answer(), 400, "INVALID_REQUEST", MALFORMED)
        assert wire.rest() == b""


HOST = b"Host: x\r\n"
BAD_REQUESTS = {
    "no request": b"nonsense\r\n\r\n",
    "binary": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no host": b"GET /open HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /open HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two lengths": b"POST /open HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n" * 2 + b"\r\nx",
    "length and chunks": b"POST /open HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "negative length": b"POST /open HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    "no length": b"POST /open HTTP/1.1\r\n" + HOST + b"Content-Length: abc\r\n\r\n",
    "space in a name": b"GET /open HTTP/1.1\r\n" + HOST + b"X Y: 1\r\n\r\n",
    "nul in a value": b"GET /open HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
    "a long header": b"GET /open HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 9000 + b"\r\n\r\n",
    "many headers": b"GET /open HTTP/1.1\r\n"
    + HOST
    + (b"X: " + b"y" * 4000 + b"\r\n") * 9
    + b"\r\n",
    "a broken chunk": b"POST /open HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_a_malformed_request_is_refused_in_the_one_shape(node: Node, data: bytes) -> None:
    with node.wire() as wire:
        wire.send(data)
        assert_own_error(wire.answer(), 400, "INVALID_REQUEST", MALFORMED)
        assert wire.rest() == b""


KEYED = f"Host: x\r\nX-API-Key: {LIVE_KEY}\r\n".encode()
CHUNKED = b"Transfer-Encoding: chunked\r\n"
# nginx ends these while a plugin reads the body.
BAD_BODIES = {
    "no size": b"zz\r\nab\r\n0\r\n\r\n",
    "a negative size": b"-1\r\nab\r\n0\r\n\r\n",
    "a huge size": b"f" * 20 + b"\r\nab\r\n0\r\n\r\n",
    "too long a chunk": b"2\r\nabc\r\n0\r\n\r\n",
    "a bad second chunk": b"2\r\nab\r\nzz\r\n",
}


@pytest.mark.parametrize("path", [INVENTORY, WEBHOOKS, "/partner/v1/docs", "/open"])
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_body_that_breaks_is_refused_in_the_one_shape_on_each_route(
    node: Node, path: str, accept: str, body: bytes
) -> None:
    head = f"POST {path} HTTP/1.1\r\nAccept: {accept}\r\nX-Request-ID: mine-1\r\n".encode()
    with node.wire() as wire:
        wire.send(head + KEYED + CHUNKED + b"\r\n" + body)
        answer = wire.answer()
    assert_own_error(answer, 400, "INVALID_REQUEST", MALFORMED)
    assert answer.header("X-Request-ID") == "mine-1"


NOT_SPOKEN = "Only HTTP/1.0 and HTTP/1.1 are supported"
ONLY_CHUNKED = "Only the transfer coding chunked is supported"
UNSUPPORTED = {
    "HTTP/2.0": (b" HTTP/2.0\r\n" + KEYED + b"\r\n", NOT_SPOKEN),
    "gzip, chunked": (
        b" HTTP/1.1\r\n" + KEYED + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ONLY_CHUNKED,
    ),
    "gzip": (b" HTTP/1.1\r\n" + KEYED + b"Transfer-Encoding: gzip\r\n\r\n", ONLY_CHUNKED),
    "identity": (b" HTTP/1.1\r\n" + KEYED + b"Transfer-Encoding: identity\r\n\r\n", ONLY_CHUNKED),
}


@pytest.mark.parametrize("path", [INVENTORY, "/open", "/unknown"])
@pytest.mark.parametrize(("rest", "message"), UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_a_form_of_http_that_is_not_spoken_is_the_caller_s_fault(
    node: Node, path: str, rest: bytes, message: str
) -> None:
    with node.wire() as wire:
        wire.send(f"POST {path}".encode() + rest)
        assert_own_error(wire.answer(), 400, "INVALID_REQUEST", message)
        assert wire.rest() == b""


def test_two_transfer_codings_are_malformed(node: Node) -> None:
    with node.wire() as wire:
        twice = b"Transfer-Encoding: chunked\r\n" * 2
        wire.send(b"POST /open HTTP/1.1\r\n" + KEYED + twice + b"\r\n0\r\n\r\n")
        assert_own_error(wire.answer(), 400, "INVALID_REQUEST", MALFORMED)
        assert wire.rest() == b""


@pytest.mark.parametrize("coding", ["Chunked", "CHUNKED"])
def test_the_name_of_the_coding_has_no_case(
    node: Node, service: RecordingService, coding: str
) -> None:
    path = own_path("/open")
    with node.wire() as wire:
        wire.send(request("POST", path, ("Transfer-Encoding", coding)) + chunked(b"ab", b"c"))
        assert wire.answer().status == 200
    assert service.only(path).body == b"abc"


def test_a_chunk_that_breaks_later_is_refused_too(node: Node) -> None:
    with node.wire() as wire:
        wire.send(request("POST", "/open", ("Transfer-Encoding", "chunked")) + b"2\r\nab\r\n")
        wire.send(b"zz\r\n")
        assert_own_error(wire.answer(), 400, "INVALID_REQUEST", MALFORMED)


def test_a_long_uri_is_refused(node: Node) -> None:
    answer = node.ask("GET", "/open?" + "x" * 9000)
    assert_own_error(answer, 414, "URI_TOO_LONG", "The URI is too long")


def test_a_long_uri_below_the_limit_is_not(node: Node) -> None:
    assert node.ask("GET", "/open?" + "x" * 7900).status == 200


def test_a_line_that_never_ends_is_refused(node: Node) -> None:
    with node.wire() as wire:
        wire.send(b"GET /open HTTP/1.1\r\nHost: x\r\nX: ")
        for _ in range(100):
            try:
                wire.send(b"y" * 1000)
            except OSError:
                break
        # Refused while we were still sending, so the answer may be lost on the way.
        with contextlib.suppress(BrokenAnswerError):
            assert_own_error(wire.answer(), 400, "INVALID_REQUEST")
        assert wire.rest() == b""


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_methods_for_proxies_are_not_allowed(node: Node, method: str) -> None:
    target = "/open" if method == "TRACE" else "other:443"
    answer = node.ask(method, target)
    assert_own_error(answer, 405, "METHOD_NOT_ALLOWED", "Method not allowed")


def test_an_upgrade_is_not_made_and_the_connection_goes_on(
    node: Node, service: RecordingService
) -> None:
    """Java's client asks for h2c with the first request of a connection."""
    upgrade = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"),
    ]
    paths = [own_path("/open") for _ in range(3)]
    with node.wire() as wire:
        data = request("POST", paths[0], *upgrade, body=b'{"a": 1}')
        wire.send(data[:-8])
        time.sleep(0.05)  # the body comes by itself
        wire.send(data[-8:])
        assert wire.answer().status == 200
        head = request("POST", paths[1], *upgrade, ("Transfer-Encoding", "chunked"))
        wire.send(head + chunked(b"ab", b"c") + request("GET", paths[2], *upgrade))
        assert wire.answer().status == 200
        assert wire.answer().status == 200
    assert [service.only(path).body for path in paths] == [b'{"a": 1}', b"abc", b""]
    assert service.only(paths[0]).header("Upgrade") is None


def test_a_slow_caller_is_served(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    data = request("POST", path, body=b"slowly")
    with node.wire() as wire:
        for place in range(0, len(data), 10):
            wire.send(data[place : place + 10])
            time.sleep(0.01)
        assert wire.answer().status == 200
    assert service.only(path).body == b"slowly"


def test_slow_callers_and_hanging_services_delay_nobody_else(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/open")
    service.behave(path, hangs)
    wires: list[Wire] = [node.wire() for _ in range(40)]
    for place, wire in enumerate(wires):
        data = request("POST", path, body=b"{}")
        wire.send(data if place % 2 else data[:-1])
    service.received(path, 20)
    began = time.monotonic()
    assert node.ask("GET", "/open").status == 200
    assert time.monotonic() - began < 1
    for wire in wires:
        wire.close()
    for seen in service.received(path, 20):
        assert seen.given_up.wait(10)
