"""The connection of a served app: requests for an upgrade and malformed bytes, as raw bytes."""

import contextlib
import json
import subprocess
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pytest
from litestar import Litestar, Request, asgi, delete
from litestar.types import Receive, Scope, Send

from services.core.http.assembly import make_app
from services.core.http.bodies import read_json_body
from services.core.http.request_scope import send_json
from tests.served_app import served
from tools.wire import BrokenAnswerError, Wire, chunked, request

UPGRADES = {
    "h2c": [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"),
    ],
    "websocket": [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ],
    "another": [("Connection", "upgrade"), ("Upgrade", "weird/1")],
}
JSON = ("Content-Type", "application/json")
CHUNKED = ("Transfer-Encoding", "chunked")
CLIENT = Path(__file__).parent / "UpgradingClient.java"


@dataclass
class Service:
    """What a served app was asked to do."""

    port: int = 0
    bodies: list[bytes] = field(default_factory=list)
    deleted: int = 0
    may_delete: Event = field(default_factory=Event)

    def wire(self) -> Wire:
        """Return a connection to it."""
        return Wire("127.0.0.1", self.port)


@pytest.fixture
def service() -> Generator[Service]:
    """POST /bodies reads its body, DELETE /things reads none."""
    found = Service()

    @asgi("/bodies", copy_scope=False)
    async def take(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_json_body(scope, receive)
        found.bodies.append(body)
        await send_json(send, 200, json.dumps(len(body)).encode())

    @delete("/things", sync_to_thread=True)
    def end(request: Request) -> None:  # type: ignore[type-arg]
        assert request.method == "DELETE"
        assert found.may_delete.wait(10)
        found.deleted += 1

    @contextlib.asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncGenerator[None]:
        yield

    found.may_delete.set()
    with served(make_app([take, end], {}, lifespan)) as url:
        found.port = int(url.rpartition(":")[2])
        yield found


@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
def test_a_request_for_an_upgrade_keeps_its_body(
    service: Service, upgrade: list[tuple[str, str]]
) -> None:
    hidden = request("DELETE", "/things")
    with service.wire() as wire:
        wire.send(request("POST", "/bodies", JSON, *upgrade, body=hidden))
        assert wire.answer().status == 200
        head = request("POST", "/bodies", JSON, CHUNKED, *upgrade)
        wire.send(head + chunked(hidden, b"rest"))
        assert wire.answer().status == 200
        wire.send(request("POST", "/bodies", JSON, body=b"then an ordinary one"))
        assert wire.answer().status == 200
    assert service.bodies == [hidden, hidden + b"rest", b"then an ordinary one"]
    assert service.deleted == 0


@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
def test_requests_for_an_upgrade_are_answered_in_turn_when_they_come_together(
    service: Service, upgrade: list[tuple[str, str]]
) -> None:
    with service.wire() as wire:
        wire.send(
            request("POST", "/bodies", JSON, *upgrade, body=b"1")
            + request("DELETE", "/things", *upgrade)
            + request("POST", "/bodies", JSON, CHUNKED, *upgrade)
            + chunked(b"2", b"2")
            + request("POST", "/bodies", JSON, *upgrade, body=b"333")
        )
        statuses = [wire.answer(method).status for method in ("POST", "DELETE", "POST", "POST")]
    assert statuses == [200, 204, 200, 200]
    assert (service.bodies, service.deleted) == ([b"1", b"22", b"333"], 1)


def test_any_number_of_requests_for_an_upgrade_may_come_together(service: Service) -> None:
    short = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n"
    with service.wire() as wire:
        wire.send(short * 1_500)
        assert {wire.answer().status for _ in range(1_500)} == {404}


@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
def test_a_body_after_an_upgrade_may_come_byte_by_byte(
    service: Service, upgrade: list[tuple[str, str]]
) -> None:
    data = request("POST", "/bodies", JSON, CHUNKED, *upgrade) + chunked(b"ab", b"c")
    with service.wire() as wire:
        for place in range(len(data)):
            wire.send(data[place : place + 1])
        assert wire.answer().status == 200
    assert service.bodies == [b"abc"]


def test_a_request_that_was_carried_out_is_not_answered_with_the_400_of_what_follows(
    service: Service,
) -> None:
    service.may_delete.clear()
    with service.wire() as wire:
        wire.send(request("DELETE", "/things") + b"nonsense\r\n\r\n")
        service.may_delete.set()
        answer = wire.answer("DELETE")
        assert (answer.status, answer.header("Connection")) == (204, "close")
        assert wire.rest() == b""
    assert service.deleted == 1


def test_a_request_whose_body_nobody_reads_is_not_answered_with_the_400_of_its_chunks(
    service: Service,
) -> None:
    service.may_delete.clear()
    with service.wire() as wire:
        wire.send(request("DELETE", "/things", CHUNKED) + b"zz\r\nab\r\n0\r\n\r\n")
        service.may_delete.set()
        assert wire.answer("DELETE").status == 204
        assert wire.rest() == b""
    assert service.deleted == 1


def test_a_body_in_malformed_chunks_is_refused_in_the_one_shape_and_not_carried_out(
    service: Service,
) -> None:
    with service.wire() as wire:
        head = request("POST", "/bodies", JSON, CHUNKED, ("X-Request-ID", "mine"))
        wire.send(head + b"2\r\nab\r\nzz\r\n")
        answer = wire.answer()
        assert (answer.status, answer.json["code"]) == (400, "INVALID_REQUEST")
        assert (answer.json["request_id"], "chunks" in answer.json["message"]) == ("mine", True)
        assert wire.rest() == b""
    assert service.bodies == []


def test_an_answer_before_the_end_of_a_body_is_the_only_one(service: Service) -> None:
    with service.wire() as wire:
        wire.send(request("POST", "/bodies", CHUNKED) + b"2\r\nab\r\n")
        assert wire.answer().status == 415
        wire.send(b"zz\r\n")
        assert wire.rest() == b""


def test_nonsense_alone_is_a_400(service: Service) -> None:
    with service.wire() as wire:
        wire.send(b"nonsense\r\n\r\n")
        assert wire.answer().status == 400
        with pytest.raises(BrokenAnswerError):
            wire.answer()


@pytest.mark.needs("java", "javac")
def test_the_jdks_client_with_its_defaults_is_understood(service: Service) -> None:
    done = subprocess.run(
        ["java", "-XX:TieredStopAtLevel=1", str(CLIENT), f"http://127.0.0.1:{service.port}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["200", "200", "204"], done.stderr
    assert (service.bodies, service.deleted) == ([b'{"fixed":1}', b'{"chunked":1}'], 1)
