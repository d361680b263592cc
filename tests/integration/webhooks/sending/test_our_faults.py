"""What this machine lacks is no failure of the receiver; it is known whether a byte went out."""

import contextlib
import errno
import os
import resource
import socket
import ssl
import threading
from collections.abc import Generator
from pathlib import Path

import certifi
import httpx
import pytest

from services.webhooks.delivery.call import CallFailedError, OurFaultError
from services.webhooks.delivery.outcome import Answer, AttemptOutcome, NoAnswer
from services.webhooks.delivery.resolver import Resolver
from services.webhooks.delivery.sender import NotSentError, Sender, default_tls
from tests.integration.webhooks.sending.conftest import (
    CALL_SECONDS,
    DEVELOPMENT,
    MakeSender,
)
from tests.integration.webhooks.sending.receivers import OK, answering, keeping_open, receiving

NAME = "https://shop.example/"
OTHER = "https://other.example/"


class BugError(Exception):
    """A mistake in our code."""


@contextlib.contextmanager
def no_file_left() -> Generator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_file_left_is_our_fault_and_the_next_send_arrives(sender: Sender) -> None:
    with receiving(keeping_open()) as receiver:
        with no_file_left(), pytest.raises(NotSentError):
            sender.send(receiver.url, b"{}", {})
        assert sender.send(receiver.url, b"{}", {}) == Answer(200)
        assert receiver.connections == 1


def connecting_fails(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def connect(_socket: socket.socket, _address: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.mark.parametrize("name", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ENETDOWN", "EPERM",
                                  "EADDRNOTAVAIL"])  # fmt: skip
def test_a_connection_that_this_machine_cannot_make_is_our_fault(
    sender: Sender, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    connecting_fails(monkeypatch, getattr(errno, name))
    with pytest.raises(NotSentError):
        sender.send("https://127.0.0.1:1/", b"{}", {})


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://127.0.0.1/", "ECONNREFUSED"),
        ("https://127.0.0.1/", "EHOSTUNREACH"),
        ("https://127.0.0.1/", "ENETUNREACH"),
        ("https://127.0.0.1/", "EACCES"),
        ("https://[::1]/", "EADDRNOTAVAIL"),  # we have no IPv6, and the receiver nothing else
    ],
)
def test_a_connection_that_the_receivers_side_refuses_is_a_failed_attempt(
    sender: Sender, monkeypatch: pytest.MonkeyPatch, url: str, name: str
) -> None:
    connecting_fails(monkeypatch, getattr(errno, name))
    result = sender.send(url, b"{}", {})
    assert isinstance(result, NoAnswer)
    assert result.outcome is AttemptOutcome.CONNECTION_FAILED


@pytest.mark.parametrize("code", [socket.EAI_SYSTEM, socket.EAI_MEMORY])
def test_a_name_that_this_machine_cannot_ask_for_is_our_fault(
    make_sender: MakeSender, code: int
) -> None:
    def lookup(_name: str) -> list[str]:
        raise socket.gaierror(code, "not asked")

    with pytest.raises(NotSentError):
        make_sender(lookup=lookup).send(NAME, b"{}", {})


@pytest.mark.parametrize("code", [socket.EAI_AGAIN, socket.EAI_FAIL])
def test_a_resolver_that_answers_for_no_name_is_our_fault(
    make_sender: MakeSender, code: int
) -> None:
    def lookup(_name: str) -> list[str]:
        raise socket.gaierror(code, "no answer")

    sender = make_sender(lookup=lookup)
    sender.send(OTHER, b"{}", {})
    with pytest.raises(NotSentError):
        sender.send(NAME, b"{}", {})


@pytest.mark.parametrize("code", [socket.EAI_AGAIN, socket.EAI_FAIL])
def test_one_name_alone_without_an_answer_is_a_failed_attempt(
    make_sender: MakeSender, code: int
) -> None:
    def lookup(_name: str) -> list[str]:
        raise socket.gaierror(code, "no answer")

    sender = make_sender(lookup=lookup)
    for _ in range(3):
        result = sender.send(NAME, b"{}", {})
        assert result == NoAnswer(AttemptOutcome.NAME_NOT_RESOLVED, "the host's name was not found")


def test_one_name_alone_whose_lookup_hangs_is_a_failed_attempt(make_sender: MakeSender) -> None:
    released = threading.Event()

    def lookup(_name: str) -> list[str]:
        released.wait(10)
        return ["127.0.0.1"]

    try:
        result = make_sender(lookup=lookup, connect_seconds=0.1).send(NAME, b"{}", {})
    finally:
        released.set()
    assert isinstance(result, NoAnswer)
    assert result.outcome is AttemptOutcome.TIMEOUT


def test_a_name_that_does_not_exist_is_a_failed_attempt(make_sender: MakeSender) -> None:
    def lookup(_name: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    result = make_sender(lookup=lookup).send(NAME, b"{}", {})
    assert result == NoAnswer(AttemptOutcome.NAME_NOT_RESOLVED, "the host's name was not found")


class Names:
    """A resolver in which names of one kind are answered and others are not, and its clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.released = threading.Event()
        self._resolver = Resolver(self._lookup, clock=lambda: self.now)

    def _lookup(self, name: str) -> list[str]:
        if name.startswith("hanging"):
            self.released.wait(10)
        if name.startswith("silent"):
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        if name.startswith("unknown"):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return ["127.0.0.1"]

    def is_our_fault(self, name: str) -> bool:
        try:
            self._resolver.resolve(name, within=0.1 if name.startswith("hanging") else 5)
        except OurFaultError:
            return True
        except (TimeoutError, CallFailedError):
            return False
        return False


@pytest.fixture
def names() -> Generator[Names]:
    made = Names()
    yield made
    made.released.set()


def test_lookups_that_hang_are_our_fault_from_the_second_name_on(names: Names) -> None:
    assert not names.is_our_fault("hanging.example")
    assert names.is_our_fault("hanging-too.example")
    assert names.is_our_fault("hanging.example")


@pytest.mark.parametrize("answered", ["shop.example", "unknown.example"])
def test_a_name_without_an_answer_is_the_receivers_if_another_is_answered(
    names: Names, answered: str
) -> None:
    assert not names.is_our_fault("silent.example")
    assert not names.is_our_fault(answered)
    assert not names.is_our_fault("silent-too.example")
    names.now = 61
    assert not names.is_our_fault("silent.example")
    assert names.is_our_fault("silent-too.example")


def test_another_name_without_an_answer_is_no_evidence_after_a_minute(names: Names) -> None:
    assert not names.is_our_fault("silent.example")
    names.now = 61
    assert not names.is_our_fault("silent-too.example")


def test_no_thread_left_for_a_lookup_is_our_fault_and_the_next_lookup_is_answered(
    make_sender: MakeSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: threading.Thread) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    with receiving(answering(OK)) as receiver:
        sender = make_sender(lookup=lambda _: ["127.0.0.1"])
        url = f"http://shop.localhost:{receiver.port}/"
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            with pytest.raises(NotSentError):
                sender.send(url, b"{}", {})
        assert sender.send(url, b"{}", {}) == Answer(200)


def test_a_tls_context_without_a_protocol_is_our_fault(make_sender: MakeSender) -> None:
    tls = ssl.create_default_context()
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    with receiving(answering(OK)) as receiver, pytest.raises(NotSentError):
        make_sender(tls=tls).send(f"https://127.0.0.1:{receiver.port}/", b"{}", {})


def test_missing_roots_fail_the_sender_before_any_call_and_are_looked_for_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    default_tls.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(certifi, "where", lambda: str(tmp_path / "missing.pem"))
        with pytest.raises(OSError, match="No such file"):
            Sender(DEVELOPMENT, connect_seconds=1, call_seconds=CALL_SECONDS)
    Sender(DEVELOPMENT, connect_seconds=1, call_seconds=CALL_SECONDS).close()


def test_a_request_that_we_cannot_write_is_our_fault(sender: Sender) -> None:
    with receiving(answering(OK)) as receiver, pytest.raises(NotSentError):
        sender.send(receiver.url, b"{}", {"X-Signature": "two\nlines"})


def test_a_fault_of_ours_after_the_status_changes_nothing(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lack(_response: httpx.Response) -> None:
        raise OurFaultError

    monkeypatch.setattr(httpx.Response, "iter_raw", lack)
    with receiving(answering(OK)) as receiver:
        assert sender.send(receiver.url, b"{}", {}) == Answer(200)


def test_a_mistake_of_ours_after_the_first_byte_leaves_the_outcome_open(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(_response: httpx.Response) -> None:
        raise BugError

    with receiving(keeping_open()) as receiver:
        with monkeypatch.context() as patch:
            patch.setattr(httpx.Response, "iter_raw", bug)
            with pytest.raises(BugError):
                sender.send(receiver.url, b"{}", {})
        assert sender.send(receiver.url, b"{}", {}) == Answer(200)
