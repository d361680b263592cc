"""No webhook reaches our own network (W12): not by URL, by name, by redirect or by proxy."""

import socket
from collections.abc import Callable, Generator

import pytest

from services.webhooks.delivery.outcome import Answer, AttemptOutcome, NoAnswer
from services.webhooks.targets import TargetPolicy
from tests.hostile_targets import HOSTILE_ANSWERS, HOSTILE_URLS
from tests.integration.webhooks.sending.conftest import MakeSender
from tests.integration.webhooks.sending.receivers import OK, answering, receiving


def has_ipv6_loopback() -> bool:
    """Say whether ::1 is there: in a container it often is not, whatever Python was built with."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


class Canary:
    """Listens on loopback, IPv4 and where it is there IPv6, at one port; nobody may come."""

    def __init__(self) -> None:
        self._listeners = [socket.create_server(("127.0.0.1", 0))]
        self.port: int = self._listeners[0].getsockname()[1]
        if has_ipv6_loopback():
            self._listeners.append(socket.create_server(("::1", self.port), family=socket.AF_INET6))
        self.policy = TargetPolicy.of(development=False, ports=f"443,{self.port}")

    def visited(self) -> bool:
        """Tell whether a connection is there; the system completes it before it is accepted."""
        for listener in self._listeners:
            listener.setblocking(False)
            try:
                listener.accept()[0].close()
            except BlockingIOError:
                continue
            return True
        return False

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()


@pytest.fixture
def canary() -> Generator[Canary]:
    canary = Canary()
    yield canary
    canary.close()


@pytest.fixture
def connects(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Everything that a socket is asked to connect to; none gets further."""
    tried: list[object] = []

    def connect(_socket: socket.socket, address: object) -> None:
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    return tried


def no_lookup(name: str) -> list[str]:
    message = f"{name} was looked up"
    raise AssertionError(message)


def test_the_canary_notices_a_visit(canary: Canary) -> None:
    assert not canary.visited()
    with socket.create_connection(("127.0.0.1", canary.port)):
        assert canary.visited()


@pytest.mark.parametrize("name", HOSTILE_URLS)
def test_a_hostile_url_is_not_connected_to(
    make_sender: MakeSender, canary: Canary, connects: list[object], name: str
) -> None:
    url = HOSTILE_URLS[name].replace("{port}", str(canary.port))
    result = make_sender(canary.policy, lookup=no_lookup).send(url, b"{}", {})
    assert isinstance(result, NoAnswer)
    assert result.outcome is AttemptOutcome.REFUSED_TARGET
    assert not connects
    assert not canary.visited()


@pytest.mark.parametrize("name", HOSTILE_ANSWERS)
def test_a_public_name_with_a_hostile_address_is_not_connected_to(
    make_sender: MakeSender, canary: Canary, connects: list[object], name: str
) -> None:
    sender = make_sender(canary.policy, lookup=lambda _: HOSTILE_ANSWERS[name])
    result = sender.send(f"https://shop.example:{canary.port}/", b"{}", {})
    assert isinstance(result, NoAnswer)
    assert result.outcome is AttemptOutcome.REFUSED_TARGET
    assert result.detail.endswith("addresses are not called, only public ones")
    assert not connects
    assert not canary.visited()


def test_a_public_address_is_connected_to(make_sender: MakeSender, connects: list[object]) -> None:
    """The counter-proof: the tests above do see what is tried."""
    sender = make_sender(
        TargetPolicy.of(development=False, ports="443"),
        lookup=lambda _: ["93.184.215.14", "2606:4700::1111"],
    )
    result = sender.send("https://shop.example/", b"{}", {})
    assert connects == [("93.184.215.14", 443), ("2606:4700::1111", 443)]
    assert isinstance(result, NoAnswer)
    assert result.outcome is AttemptOutcome.CONNECTION_FAILED


def test_development_does_not_connect_to_private_addresses(
    make_sender: MakeSender, connects: list[object]
) -> None:
    sender = make_sender(lookup=lambda _: ["127.0.0.1", "10.0.0.1"])
    result = sender.send("https://shop.example/", b"{}", {})
    assert isinstance(result, NoAnswer)
    assert result.outcome is AttemptOutcome.REFUSED_TARGET
    assert not connects


def changing(*answers: list[str]) -> tuple[Callable[[str], list[str]], list[str]]:
    """Return a lookup that gives another answer each time, the last for ever, and its log."""
    lookups: list[str] = []

    def lookup(name: str) -> list[str]:
        lookups.append(name)
        return answers[min(len(lookups), len(answers)) - 1]

    return lookup, lookups


def test_a_name_is_looked_up_once_for_each_connection_and_never_behind_the_check(
    make_sender: MakeSender, canary: Canary, connects: list[object]
) -> None:
    lookup, lookups = changing(["93.184.215.14"], ["127.0.0.1"])
    sender = make_sender(canary.policy, lookup=lookup)
    url = f"https://shop.example:{canary.port}/"
    first = sender.send(url, b"{}", {})
    assert lookups == ["shop.example"]
    assert connects == [("93.184.215.14", canary.port)]
    second = sender.send(url, b"{}", {})
    assert lookups == ["shop.example"] * 2
    assert isinstance(first, NoAnswer)
    assert first.outcome is AttemptOutcome.CONNECTION_FAILED
    assert isinstance(second, NoAnswer)
    assert second.outcome is AttemptOutcome.REFUSED_TARGET
    assert connects == [("93.184.215.14", canary.port)]
    assert not canary.visited()


def test_a_name_that_was_good_is_checked_again_at_its_next_connection(
    make_sender: MakeSender,
) -> None:
    lookup, lookups = changing(["127.0.0.1"], ["10.0.0.1"])
    sender = make_sender(lookup=lookup)
    with receiving(answering(OK)) as receiver:  # one answer for each connection
        url = f"http://shop.localhost:{receiver.port}/"
        assert sender.send(url, b"{}", {}) == Answer(200)
        result = sender.send(url, b"{}", {})
    assert isinstance(result, NoAnswer)
    assert result.outcome is AttemptOutcome.REFUSED_TARGET
    assert len(lookups) == 2
    assert receiver.connections == 1


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
def test_a_redirect_to_loopback_is_not_followed(
    make_sender: MakeSender, canary: Canary, status: int
) -> None:
    answer = (
        f"HTTP/1.1 {status} Elsewhere\r\nLocation: http://127.0.0.1:{canary.port}/\r\n"
        f"Refresh: 0; url=http://127.0.0.1:{canary.port}/\r\nContent-Length: 0\r\n\r\n"
    )
    with receiving(answering(answer.encode())) as receiver:
        # A development policy, which would allow the canary.
        assert make_sender().send(receiver.url, b"{}", {}) == Answer(status)
    assert not canary.visited()


@pytest.mark.parametrize("in_capitals", [True, False])
def test_proxies_of_the_environment_are_ignored(
    make_sender: MakeSender,
    canary: Canary,
    monkeypatch: pytest.MonkeyPatch,
    in_capitals: bool,
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        variable = name if in_capitals else name.lower()
        monkeypatch.setenv(variable, f"http://127.0.0.1:{canary.port}")
    with receiving(answering(OK)) as receiver:
        assert make_sender().send(receiver.url, b"{}", {}) == Answer(200)
    assert not canary.visited()
