"""What passes through in both directions, what is set, and what is of one connection only."""

import gzip

import pytest

from tests.gateway.policy import LIVE_ID, LIVE_KEY, LIVE_KEY_ID, own_path
from tests.gateway.recording_service import RecordingService, answers
from tools.gateway_node import BACKEND_TOKEN, Node
from tools.wire import request


def test_the_service_is_told_where_a_request_came_from(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/open")
    assert node.ask("GET", f"{path}?a=1", host="Api.Example:8000").status == 200
    seen = service.only(path)
    assert seen.header("X-Forwarded-Proto") == "http"
    assert seen.header("X-Forwarded-Host") == "api.example"
    assert seen.header("X-Forwarded-Path") == path
    assert (seen.header("X-Forwarded-Port") or "").isdigit()
    assert seen.header("X-Forwarded-For") == seen.header("X-Real-IP")


def test_a_caller_cannot_say_where_it_came_from(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    names = ["Proto", "Host", "Port", "Path", "Prefix"]
    headers = [(f"X-Forwarded-{name}", "spoofed") for name in names]
    assert node.ask("GET", path, *headers, ("X-Real-IP", "9.9.9.9")).status == 200
    seen = service.only(path)
    assert "spoofed" not in repr(seen.headers)
    assert seen.header("X-Real-IP") != "9.9.9.9"


def test_the_chain_of_forwarded_addresses_grows(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    assert node.ask("GET", path, ("X-Forwarded-For", "9.9.9.9, 8.8.8.8")).status == 200
    seen = service.only(path)
    chain = seen.header("X-Forwarded-For") or ""
    assert chain.startswith("9.9.9.9, 8.8.8.8, ")
    assert chain.count(",") == 2
    assert chain.endswith(f", {seen.header('X-Real-IP')}")
    assert seen.header("X-Real-IP") not in ("9.9.9.9", "8.8.8.8")


def test_the_service_gets_its_own_host(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    assert node.ask("GET", path, host="api.example").status == 200
    assert (service.only(path).header("Host") or "").endswith(f":{service.port}")


def test_both_sides_see_the_gateway_s_own_id_and_via(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    answer = node.ask("GET", path)
    seen = service.only(path)
    assert answer.header("X-Kong-Request-Id") == seen.header("X-Kong-Request-Id")
    assert len(answer.header("X-Kong-Request-Id") or "") == 32
    assert "kong/" in (answer.header("Via") or "")
    assert "kong/" in (seen.header("Via") or "")
    assert (answer.header("X-Kong-Upstream-Latency") or "").isdigit()
    assert (answer.header("X-Kong-Proxy-Latency") or "").isdigit()


def test_the_gateway_s_own_answers_carry_its_name(node: Node) -> None:
    answer = node.ask("GET", "/unknown")
    assert (answer.header("Server") or "").startswith("kong/")
    assert len(answer.header("X-Kong-Request-Id") or "") == 32


def test_what_is_of_one_connection_is_not_passed_on(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    headers = [
        ("Connection", "keep-alive, X-Private"),
        ("X-Private", "secret"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Upgrade", "weird/1"),
        ("X-Public", "seen"),
    ]
    assert node.ask("GET", path, *headers).status == 200
    seen = service.only(path)
    assert seen.header("X-Public") == "seen"
    for name in ("X-Private", "Proxy-Connection", "Upgrade"):
        assert seen.header(name) is None


# What Connection names goes no further, but what the gateway sets is not the caller's to take off.
SET_BY_THE_GATEWAY = {
    "X-Credential-Identifier": str(LIVE_KEY_ID),
    "X-Consumer-ID": str(LIVE_ID),
    "X-Consumer-Custom-ID": "techmart:live",
    "X-Consumer-Username": "techmart",
    "X-Backend-Token": BACKEND_TOKEN,
    "X-Request-ID": "mine-1",
}
EVERY_NAME = tuple(SET_BY_THE_GATEWAY)
CONNECTIONS = {
    **{name: [name] for name in EVERY_NAME},
    "lower case": [name.lower() for name in EVERY_NAME],
    "upper case": [name.upper() for name in EVERY_NAME],
    "in one header": [", ".join(EVERY_NAME)],
    "without blanks": [",".join(["close", *EVERY_NAME])],
    "empty names between": [" , ,".join(["", *EVERY_NAME, ""])],
    "behind a plain one": ["keep-alive", *EVERY_NAME],
    "before a plain one": [*EVERY_NAME, "close"],
}


@pytest.mark.parametrize("connection", CONNECTIONS.values(), ids=CONNECTIONS.keys())
def test_a_caller_cannot_take_off_what_the_gateway_sets(
    node: Node, service: RecordingService, connection: list[str]
) -> None:
    path = own_path()
    named = [("Connection", value) for value in connection]
    answer = node.ask("GET", path, ("X-API-Key", LIVE_KEY), ("X-Request-ID", "mine-1"), *named)
    assert answer.status == 200
    assert answer.header("X-Request-ID") == "mine-1"
    seen = service.only(path)
    assert {name: seen.header(name) for name in EVERY_NAME} == SET_BY_THE_GATEWAY
    assert seen.header("X-API-Key") is None


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Transfer-Encoding", "X-API-Key"])
def test_a_header_that_the_gateway_needs_is_read_though_connection_names_it(
    node: Node, service: RecordingService, name: str
) -> None:
    path = own_path()
    smuggled = own_path()
    body = f"GET {smuggled} HTTP/1.1\r\nHost: x\r\nX-API-Key: {LIVE_KEY}\r\n\r\n".encode()
    with node.wire() as wire:
        named = [("X-API-Key", LIVE_KEY), ("Connection", f"keep-alive, {name}")]
        wire.send(request("POST", path, *named, body=body))
        assert wire.answer().status == 200
        wire.send(request("GET", path, ("X-API-Key", LIVE_KEY)))
        assert wire.answer().status == 200
    assert [seen.body for seen in service.received(path, 2)] == [body, b""]
    assert service.requests(smuggled) == []


@pytest.mark.parametrize(
    "connection",
    [["X-Private", "keep-alive"], ["X-PRIVATE,close"], ["keep-alive", " x-private ,X-Other"]],
)
def test_what_any_connection_header_names_is_not_passed_on(
    node: Node, service: RecordingService, connection: list[str]
) -> None:
    path = own_path("/open")
    named = [("Connection", value) for value in connection]
    assert node.ask("GET", path, *named, ("X-Private", "secret")).status == 200
    assert service.only(path).header("X-Private") is None


def test_the_service_knows_the_gateway_by_a_secret(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    answer = node.ask("GET", path, ("X-Backend-Token", "guessed"))
    assert service.only(path).header("X-Backend-Token") == BACKEND_TOKEN
    assert BACKEND_TOKEN not in repr(answer)


def test_headers_and_bytes_of_the_caller_arrive(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    headers = [("X-Text", "gr\u00fc\u00df dich"), ("Authorization", "Bearer x"), ("Cookie", "a=b")]
    assert node.ask("GET", path, *headers).status == 200
    seen = service.only(path)
    for name, value in headers:
        assert seen.header(name) == value


def test_nothing_is_added_that_a_client_library_would_add(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/open")
    assert node.ask("GET", path).status == 200
    seen = service.only(path)
    for name in ("Accept", "Accept-Encoding", "User-Agent", "Content-Type", "Content-Length"):
        assert seen.header(name) is None, name


def test_the_service_s_headers_arrive_but_for_those_of_its_connection(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/open")
    data = (
        b"HTTP/1.1 201 Made\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nETag: x\r\nServer: shop\r\n"
        b"Keep-Alive: timeout=1\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    )
    service.behave(path, answers(data, keep=False))
    with node.wire() as wire:
        wire.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        answer = wire.answer()
        assert (answer.status, answer.body) == (201, b"ok")
        assert answer.all("Set-Cookie") == ["a=1", "b=2"]
        assert answer.header("ETag") == "x"
        assert answer.header("Server") == "shop"
        assert answer.header("Keep-Alive") is None
        assert (answer.header("Connection") or "keep-alive").lower() == "keep-alive"
        assert answer.header("Date")


def test_a_redirect_is_the_caller_s_business(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    data = b"HTTP/1.1 302 Found\r\nLocation: /open/else\r\nContent-Length: 0\r\n\r\n"
    service.behave(path, answers(data))
    answer = node.ask("GET", path)
    assert (answer.status, answer.header("Location")) == (302, "/open/else")


def test_a_cookie_of_the_service_is_not_kept_for_the_next_caller(
    node: Node, service: RecordingService
) -> None:
    path = own_path("/open")
    service.behave(
        path, answers(b"HTTP/1.1 200 OK\r\nSet-Cookie: s=1\r\nContent-Length: 0\r\n\r\n")
    )
    node.ask("GET", path)
    node.ask("GET", path)
    assert [seen.header("Cookie") for seen in service.received(path, 2)] == [None, None]


def test_a_compressed_body_is_passed_on_as_it_is(node: Node, service: RecordingService) -> None:
    path = own_path("/open")
    packed = gzip.compress(b"stock" * 100)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    service.behave(path, answers(head.encode() + packed))
    answer = node.ask("GET", path, ("Accept-Encoding", "gzip"))
    assert answer.header("Content-Encoding") == "gzip"
    assert answer.body == packed


def test_an_error_of_the_service_is_not_touched(node: Node, service: RecordingService) -> None:
    for status in (400, 401, 404, 500, 503):
        path = own_path("/open")
        body = b"the service's own words"
        head = f"HTTP/1.1 {status} No\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}"
        service.behave(path, answers(head.encode() + b"\r\n\r\n" + body))
        answer = node.ask("GET", path)
        assert (answer.status, answer.body) == (status, body)
        assert answer.header("Content-Type") == "text/plain"
        assert answer.header("WWW-Authenticate") is None


def test_a_terminated_route_answers_by_itself(node: Node, service: RecordingService) -> None:
    path = own_path("/ended")
    answer = node.ask("GET", path)
    assert (answer.status, answer.json["code"]) == (503, "SERVICE_UNAVAILABLE")
