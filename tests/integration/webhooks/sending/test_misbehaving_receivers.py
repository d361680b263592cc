"""Receivers that misbehave: each send ends in time, with the right outcome."""

import contextlib
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.webhooks.delivery.outcome import Answer, AttemptOutcome, NoAnswer
from services.webhooks.delivery.resolver import Resolver
from services.webhooks.delivery.sender import NotSentError, Sender
from tests.integration.webhooks.sending.conftest import (
    CALL_SECONDS,
    CONNECT_SECONDS,
    DEVELOPMENT,
    Authority,
    MakeSender,
)
from tests.integration.webhooks.sending.receivers import (
    OK,
    Behaviour,
    Receiver,
    answering,
    over_tls,
    read_request,
    receiving,
    reset,
    then_waiting,
)

GIGABYTE = 1 << 30
SLACK = 4.0  # seconds; two busy cores
NO_ANSWER = NoAnswer(AttemptOutcome.TIMEOUT, "no answer within 1 seconds")
NO_CONNECTION = NoAnswer(AttemptOutcome.TIMEOUT, "no connection within 0.5 seconds")
CLOSED = NoAnswer(
    AttemptOutcome.CONNECTION_FAILED, "the connection was closed before an answer came"
)
CUT_OFF = NoAnswer(AttemptOutcome.BAD_ANSWER, "the answer was cut off")
NOT_HTTP = NoAnswer(AttemptOutcome.BAD_ANSWER, "the answer is not HTTP/1.1")
TOO_LONG = NoAnswer(AttemptOutcome.BAD_ANSWER, "the answer's headers are longer than 64 KiB")


@contextlib.contextmanager
def ending_within(seconds: float) -> Generator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds + SLACK


def send(sender: Sender, receiver: Receiver) -> Answer | NoAnswer:
    with ending_within(CALL_SECONDS):
        return sender.send(receiver.url, b"{}", {})


class Drip:
    """Send a beginning, then a little again and again: no single read takes long."""

    def __init__(self, head: bytes, drip: bytes) -> None:
        self._head = head
        self._drip = drip

    def __call__(self, connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(self._head)
        while True:
            connection.sendall(self._drip)
            time.sleep(0.05)


class Flood:
    """Send a beginning, then a gigabyte, as far as it is taken."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self.sent = 0

    def __call__(self, connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(self._head)
        piece = b"x" * 65536
        while self.sent < GIGABYTE:
            self.sent += connection.send(piece)


class ResetAfter:
    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def __call__(self, connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(self._answer)
        time.sleep(0.05)  # a reset throws away what was not read yet
        reset(connection)


@pytest.mark.parametrize(
    ("behaviour", "result"),
    [
        pytest.param(answering(), CLOSED, id="closes at once"),
        pytest.param(answering(b""), CLOSED, id="closes after the request"),
        pytest.param(ResetAfter(b""), CLOSED, id="resets"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\nConte"), CUT_OFF, id="closes in the headers"),
        pytest.param(ResetAfter(b"HTTP/1.1 2"), CUT_OFF, id="resets in the headers"),
        pytest.param(answering(b"HTTP/1.1 100 \r\n\r\n"), CUT_OFF, id="closes after a 100"),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"),
            Answer(200),
            id="closes in the body",
        ),
        pytest.param(
            ResetAfter(b"HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\nabc"),
            Answer(500),
            id="resets in the body",
        ),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n"),
            Answer(200),
            id="garbage in the body",
        ),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\n\r\nsome"), Answer(200), id="body until close"),
        pytest.param(answering(b"HTTP/1.0 200 OK\r\n\r\n"), Answer(200), id="HTTP/1.0"),
        pytest.param(
            answering(b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n" * 5 + OK), Answer(200), id="several 1xx"
        ),
        pytest.param(
            then_waiting(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
            NOT_HTTP,
            id="an upgrade nobody asked for",
        ),
        pytest.param(then_waiting(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), NOT_HTTP, id="another protocol"),
        pytest.param(then_waiting(b"HTTP/1.1 abc\r\n\r\n"), NOT_HTTP, id="status without number"),
        pytest.param(then_waiting(b"HTTP/1.1 99999 x\r\n\r\n"), NOT_HTTP, id="status too long"),
        pytest.param(then_waiting(b"\x00\xff\r\n\r\n"), NOT_HTTP, id="bytes"),
        pytest.param(
            then_waiting(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), NOT_HTTP, id="broken header"
        ),
        pytest.param(
            then_waiting(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
            NOT_HTTP,
            id="negative length",
        ),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\nA: " + b"b" * (80 * 1024) + b"\r\n\r\n"),
            TOO_LONG,
            id="one giant header",
        ),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000 + b"\r\n"),
            TOO_LONG,
            id="giant headers",
        ),
        pytest.param(then_waiting(b""), NO_ANSWER, id="never answers"),
        pytest.param(then_waiting(b"HTTP/1.1 200 OK\r\nA:"), NO_ANSWER, id="stops in the headers"),
        pytest.param(then_waiting(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), Answer(200),
                     id="stops in the body"),
        pytest.param(Drip(b"HTTP/1.1 200 OK\r\nA: ", b"b"), NO_ANSWER, id="drips headers"),
        pytest.param(Drip(b"", b"HTTP/1.1 100 \r\n\r\n"), NO_ANSWER, id="drips 1xx"),
        pytest.param(
            Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"b"),
            Answer(200),
            id="drips a body",
        ),
        pytest.param(
            Drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nb\r\n"),
            Answer(200),
            id="drips chunks",
        ),
    ],
)  # fmt: skip
def test_a_misbehaving_receiver_is_told_as_what_it_is(
    sender: Sender, behaviour: Behaviour, result: Answer | NoAnswer
) -> None:
    with receiving(behaviour) as receiver:
        assert send(sender, receiver) == result


@pytest.mark.parametrize(
    ("head", "result"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIGABYTE, Answer(200)),
        (b"HTTP/1.1 200 OK\r\n\r\n", Answer(200)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\n", Answer(200)),
        (b"HTTP/1.1 200 OK\r\nA: ", TOO_LONG),
        (b"", TOO_LONG),
    ],
    ids=["body of known length", "body until close", "one chunk", "header", "status line"],
)
def test_a_gigabyte_is_neither_read_nor_kept(
    sender: Sender, head: bytes, result: Answer | NoAnswer
) -> None:
    flood = Flood(head)
    with receiving(flood) as receiver:
        send(sender, receiver)  # so that what is made once is not counted
        flood.sent = 0
        tracemalloc.start()
        try:
            assert send(sender, receiver) == result
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 2 * 1024 * 1024
    assert flood.sent < 32 * 1024 * 1024  # what the system's buffers took


def test_endless_1xx_answers_are_cut_off(sender: Sender) -> None:
    def behave(connection: socket.socket) -> None:
        read_request(connection)
        while True:
            connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" * 100)

    with receiving(behave) as receiver:
        assert send(sender, receiver) == TOO_LONG


def test_a_receiver_that_does_not_read_is_given_up(sender: Sender) -> None:
    with receiving(lambda _: time.sleep(1.5)) as receiver, ending_within(CALL_SECONDS):
        assert sender.send(receiver.url, b"x" * (16 << 20), {}) == NO_ANSWER


def test_an_answer_before_the_request_was_read_counts(sender: Sender) -> None:
    """413 and a reset: the sender's writes fail, and the answer is there all the same."""

    def behave(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n")

    with receiving(behave) as receiver:
        assert sender.send(receiver.url, b"x" * (16 << 20), {}) == Answer(413)


def test_a_fresh_connection_that_closes_unanswered_is_not_tried_again(sender: Sender) -> None:
    with receiving(answering(b"")) as receiver:
        assert send(sender, receiver) == CLOSED
        assert receiver.connections == 1


def test_a_port_where_nobody_listens_fails_to_connect(sender: Sender) -> None:
    with receiving(answering()) as receiver:
        url = receiver.url
    assert sender.send(url, b"{}", {}) == NoAnswer(
        AttemptOutcome.CONNECTION_FAILED, "no connection: Connection refused"
    )


@contextlib.contextmanager
def taking_no_connections(host: str, port: int = 0) -> Generator[int]:
    """Listen where nobody accepts and the queue is full; gives the port."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((host, port), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_a_host_that_takes_no_connection_times_out(sender: Sender) -> None:
    with taking_no_connections("127.0.0.1") as port, ending_within(CONNECT_SECONDS):
        assert sender.send(f"http://127.0.0.1:{port}/", b"{}", {}) == NO_CONNECTION


def test_an_address_that_hangs_leaves_time_for_the_next(make_sender: MakeSender) -> None:
    sender = make_sender(lookup=lambda _: ["127.0.0.2", "127.0.0.1"])
    with (
        receiving(answering(OK)) as receiver,
        taking_no_connections("127.0.0.2", receiver.port),
    ):
        result = sender.send(f"http://shop.localhost:{receiver.port}/", b"{}", {})
    assert result == Answer(200)


def test_a_body_gets_a_second_and_not_the_rest_of_the_call(make_sender: MakeSender) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"
    with receiving(Drip(head, b"b")) as receiver, ending_within(1):
        assert make_sender(call_seconds=30).send(receiver.url, b"{}", {}) == Answer(200)


def tls_result(sender: Sender, receiver: Receiver) -> NoAnswer | Answer:
    with ending_within(CALL_SECONDS):
        return sender.send(f"https://127.0.0.1:{receiver.port}/", b"{}", {})


def test_a_receiver_with_a_right_certificate_is_called(
    make_sender: MakeSender, authority: Authority
) -> None:
    with receiving(over_tls(authority.server(), answering(OK))) as receiver:
        assert tls_result(make_sender(tls=authority.trusting), receiver) == Answer(200)


@pytest.mark.parametrize(
    ("certificate", "told"),
    [
        ({"host": "127.0.0.2"}, "IP address mismatch"),
        ({"host": "shop.example"}, "IP address mismatch"),
        ({"days": -1}, "certificate has expired"),
        ({"self_signed": True}, "self-signed certificate"),
    ],
    ids=["another address", "a name", "expired", "self-signed"],
)
def test_a_wrong_certificate_is_not_accepted(
    make_sender: MakeSender, authority: Authority, certificate: dict[str, object], told: str
) -> None:
    requests: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        requests.append(read_request(connection))

    with receiving(over_tls(authority.server(**certificate), behave)) as receiver:  # type: ignore[arg-type]
        result = tls_result(make_sender(tls=authority.trusting), receiver)
    assert isinstance(result, NoAnswer)
    assert result.outcome is AttemptOutcome.TLS_FAILED
    assert re.match(f"the certificate is not accepted: .*{told}", result.detail)
    assert not any(requests)


def test_an_authority_that_is_not_known_to_the_public_is_not_accepted(
    sender: Sender, authority: Authority
) -> None:
    with receiving(over_tls(authority.server(), answering(OK))) as receiver:
        result = tls_result(sender, receiver)
    assert isinstance(result, NoAnswer)
    assert result.outcome is AttemptOutcome.TLS_FAILED


def test_plain_http_at_a_tls_port_is_a_tls_failure(sender: Sender) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with receiving(behave) as receiver:
        assert tls_result(sender, receiver) == NoAnswer(
            AttemptOutcome.TLS_FAILED, "TLS failed: WRONG_VERSION_NUMBER"
        )


def test_a_tls_handshake_that_is_cut_off_is_a_tls_failure(sender: Sender) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(65536)

    with receiving(behave) as receiver:
        result = tls_result(sender, receiver)
    assert isinstance(result, NoAnswer)
    assert result.outcome is AttemptOutcome.TLS_FAILED


def test_a_tls_handshake_that_hangs_times_out(sender: Sender) -> None:
    def behave(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass

    with receiving(behave) as receiver:
        assert tls_result(sender, receiver) == NO_CONNECTION


def test_a_tls_record_that_drips_times_out(make_sender: MakeSender, authority: Authority) -> None:
    with receiving(over_tls(authority.server(), Drip(b"HTTP/1.1 200 OK\r\nA:", b"b"))) as receiver:
        assert tls_result(make_sender(tls=authority.trusting), receiver) == NO_ANSWER


@pytest.mark.parametrize("answer", [OSError("away"), [], UnicodeError("label too long")])
def test_a_name_that_resolves_to_nothing_is_told(
    make_sender: MakeSender, answer: list[str] | Exception
) -> None:
    def lookup(name: str) -> list[str]:
        if isinstance(answer, Exception):
            raise answer
        return answer

    result = make_sender(lookup=lookup).send("https://shop.example/", b"{}", {})
    assert isinstance(result, NoAnswer)
    assert result.outcome is AttemptOutcome.NAME_NOT_RESOLVED


def test_a_resolver_that_hangs_costs_the_connects_time_and_one_thread_for_each_name(
    make_sender: MakeSender,
) -> None:
    released = threading.Event()
    lookups: list[str] = []

    def lookup(name: str) -> list[str]:
        lookups.append(name)
        released.wait(10)
        return ["127.0.0.1"]

    sender = make_sender(lookup=lookup)
    try:
        for _ in range(3):
            with ending_within(CONNECT_SECONDS):
                result = sender.send("https://shop.example/", b"{}", {})
            assert isinstance(result, NoAnswer)
            assert result.outcome is AttemptOutcome.TIMEOUT
        assert lookups == ["shop.example"]
    finally:
        released.set()


def test_too_many_names_that_hang_do_not_pile_up_threads() -> None:
    released = threading.Event()

    def lookup(name: str) -> list[str]:
        released.wait(10)
        return ["127.0.0.1"]

    resolver = Resolver(lookup, max_lookups=3)
    sender = Sender(DEVELOPMENT, connect_seconds=0.05, call_seconds=CALL_SECONDS, resolver=resolver)
    try:
        before = threading.active_count()
        sender.send("https://shop0.example/", b"{}", {})
        for number in range(1, 6):
            with pytest.raises(NotSentError):
                sender.send(f"https://shop{number}.example/", b"{}", {})
        assert threading.active_count() <= before + 3
    finally:
        released.set()
        sender.close()


def test_the_next_address_is_tried_when_the_first_refuses(make_sender: MakeSender) -> None:
    sender = make_sender(lookup=lambda _: ["127.0.0.2", "::1", "127.0.0.1"])
    with receiving(answering(OK)) as receiver:
        result = sender.send(f"http://shop.localhost:{receiver.port}/", b"{}", {})
    assert result == Answer(200)


ANSWER_PARTS = st.sampled_from(
    [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 \r\n\r\n", b"Content-Length: 5\r\n", b"\r\n",
     b"Transfer-Encoding: chunked\r\n", b"Retry-After: \xff\r\n", b"5\r\n", b"hello", b"0\r\n\r\n",
     b"Connection: close\r\n", b"HTTP/1.1 410 Gone\r\n", b":", b" "]
)  # fmt: skip


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(ANSWER_PARTS | st.binary(max_size=20), max_size=10))
def test_whatever_bytes_come_back_a_send_returns_one_printable_line(
    sender: Sender, parts: list[bytes]
) -> None:
    with receiving(answering(b"".join(parts))) as receiver:
        result = send(sender, receiver)
    if isinstance(result, NoAnswer):
        assert result.detail.isprintable()
        assert 0 < len(result.detail) <= 200
