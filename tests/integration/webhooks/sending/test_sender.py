"""What a receiver gets, and how connections are used."""

import json
import logging
import socket
import threading

import pytest

from services.webhooks.delivery.outcome import Answer, AttemptOutcome, NoAnswer
from services.webhooks.delivery.sender import Sender
from tests.integration.webhooks.sending.conftest import Authority, MakeSender
from tests.integration.webhooks.sending.receivers import (
    OK,
    answering,
    keeping_open,
    over_tls,
    read_request,
    receiving,
)

BODY = json.dumps({"product_id": "Größe"}).encode()


def test_the_receiver_gets_the_body_and_headers_as_they_were_signed(sender: Sender) -> None:
    requests: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        requests.append(read_request(connection))
        connection.sendall(OK)

    with receiving(behave) as receiver:
        result = sender.send(f"{receiver.url}?a=b%20c", BODY, {"X-Signature": "sha256=0a"})
    assert result == Answer(200)
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert body == BODY
    assert head.split(b"\r\n") == [
        b"POST /hooks?a=b%20c HTTP/1.1",
        f"Host: 127.0.0.1:{receiver.port}".encode(),
        b"User-Agent: partner-inventory-webhooks/1",
        b"Content-Type: application/json",
        b"Accept: */*",
        b"Accept-Encoding: identity",
        b"X-Signature: sha256=0a",
        b"Content-Length: " + str(len(BODY)).encode(),
    ]


def test_head_and_body_leave_in_one_piece(sender: Sender) -> None:
    pieces: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        pieces.append(connection.recv(65536))
        connection.sendall(OK)

    with receiving(behave) as receiver:
        assert sender.send(receiver.url, BODY, {}) == Answer(200)
    assert pieces[0].endswith(BODY)


def test_the_status_and_retry_after_come_back(sender: Sender) -> None:
    answer = b"HTTP/1.1 503 No\r\nretry-AFTER: 120\r\nContent-Length: 0\r\n\r\n"
    with receiving(keeping_open(answer)) as receiver:
        assert sender.send(receiver.url, BODY, {}) == Answer(503, "120")


def test_a_connection_is_used_again(sender: Sender) -> None:
    with receiving(keeping_open()) as receiver:
        for _ in range(5):
            assert sender.send(receiver.url, BODY, {}) == Answer(200)
        assert receiver.connections == 1


@pytest.mark.parametrize("size", [0, 16 * 1024])
def test_a_connection_is_used_again_after_a_body_within_bounds(sender: Sender, size: int) -> None:
    answer = f"HTTP/1.1 500 Oh\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size
    with receiving(keeping_open(answer)) as receiver:
        for _ in range(2):
            assert sender.send(receiver.url, BODY, {}) == Answer(500)
        assert receiver.connections == 1


def test_a_connection_is_closed_after_a_body_beyond_16_kib(sender: Sender) -> None:
    size = 16 * 1024 + 1
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size
    with receiving(keeping_open(answer)) as receiver:
        for _ in range(2):
            assert sender.send(receiver.url, BODY, {}) == Answer(200)
        assert receiver.connections == 2


LEFT_OVER = [
    pytest.param(b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello", id="204 with a body"),
    pytest.param(b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\nhello", id="304 with a body"),
    pytest.param(OK + b"more", id="more than Content-Length"),
    pytest.param(OK + OK, id="a second answer"),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore",
        id="more than the last chunk",
    ),
]


@pytest.mark.parametrize("answer", LEFT_OVER)
def test_a_connection_with_bytes_left_over_is_closed_and_not_used_again(
    sender: Sender, answer: bytes
) -> None:
    closed = threading.Event()

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer)
        if not connection.recv(1):
            closed.set()

    with receiving(behave) as receiver:
        first = sender.send(receiver.url, BODY, {})
        assert isinstance(first, Answer)
        assert closed.wait(5)
        assert sender.send(receiver.url, BODY, {}) == first
        assert receiver.connections == 2


def test_a_tls_connection_with_bytes_left_over_is_not_used_again(
    make_sender: MakeSender, authority: Authority
) -> None:
    sender = make_sender(tls=authority.trusting)
    sent = threading.Semaphore(0)

    def behave(connection: socket.socket) -> None:
        while read_request(connection):
            connection.sendall(OK)
            connection.sendall(b"more")  # a TLS record of its own
            sent.release()

    with receiving(over_tls(authority.server(), behave)) as receiver:
        for _ in range(3):
            url = f"https://127.0.0.1:{receiver.port}/"
            assert sender.send(url, BODY, {}) == Answer(200)
            assert sent.acquire(timeout=5)
        assert receiver.connections == 3


def test_a_connection_that_gets_bytes_while_it_is_idle_is_not_used_again(sender: Sender) -> None:
    answered, unasked = threading.Event(), threading.Event()

    def behave(connection: socket.socket) -> None:
        while read_request(connection):
            connection.sendall(OK)
            answered.wait(5)
            connection.sendall(OK)
            unasked.set()

    with receiving(behave) as receiver:
        assert sender.send(receiver.url, BODY, {}) == Answer(200)
        answered.set()
        assert unasked.wait(5)
        assert sender.send(receiver.url, BODY, {}) == Answer(200)
        assert receiver.connections == 2


def test_a_connection_that_was_closed_while_idle_is_replaced_unseen(sender: Sender) -> None:
    closed = threading.Event()

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK)
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    with receiving(behave) as receiver:
        for _ in range(3):
            assert sender.send(receiver.url, BODY, {}) == Answer(200)
            assert closed.wait(5)
            closed.clear()
        assert receiver.connections == 3


def closing_at_the_second_request(connection: socket.socket) -> None:
    """Close at the very moment at which the next request comes."""
    read_request(connection)
    connection.sendall(OK)
    read_request(connection)


def test_a_kept_connection_that_closes_unanswered_is_replaced_once(sender: Sender) -> None:
    with receiving(closing_at_the_second_request) as receiver:
        for _ in range(3):
            assert sender.send(receiver.url, BODY, {}) == Answer(200)
        assert receiver.connections == 3


def test_a_kept_tls_connection_that_closes_unanswered_is_replaced_once(
    make_sender: MakeSender, authority: Authority
) -> None:
    sender = make_sender(tls=authority.trusting)
    with receiving(over_tls(authority.server(), closing_at_the_second_request)) as receiver:
        for _ in range(3):
            url = f"https://127.0.0.1:{receiver.port}/"
            assert sender.send(url, BODY, {}) == Answer(200)
        assert receiver.connections == 3


def test_the_replacement_gets_no_second_chance(sender: Sender) -> None:
    first = threading.Event()

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        if not first.is_set():
            first.set()
            connection.sendall(OK)
            read_request(connection)

    with receiving(behave) as receiver:
        assert sender.send(receiver.url, BODY, {}) == Answer(200)
        assert sender.send(receiver.url, BODY, {}) == NoAnswer(
            AttemptOutcome.CONNECTION_FAILED, "the connection was closed before an answer came"
        )
        assert receiver.connections == 2


def test_a_kept_connection_that_answers_in_part_is_not_replaced(sender: Sender) -> None:
    with receiving(answering(OK, b"HTTP/1.1 20")) as receiver:
        assert sender.send(receiver.url, BODY, {}) == Answer(200)
        result = sender.send(receiver.url, BODY, {})
        assert result == NoAnswer(AttemptOutcome.BAD_ANSWER, "the answer was cut off")
        assert receiver.connections == 1


def test_the_least_recently_used_connections_go_first(make_sender: MakeSender) -> None:
    sender = make_sender(lookup=lambda _: ["127.0.0.1"])
    with receiving(keeping_open()) as receiver:
        urls = [f"http://s{number}.localhost:{receiver.port}/" for number in range(20)]
        for url in urls:
            assert sender.send(url, BODY, {}) == Answer(200)
        assert sender.send(urls[-16], BODY, {}) == Answer(200)
        assert receiver.connections == 20
        assert sender.send(urls[0], BODY, {}) == Answer(200)
        assert sender.send(urls[-16], BODY, {}) == Answer(200)
        assert receiver.connections == 21


def test_no_cookie_is_kept(sender: Sender) -> None:
    requests: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        while request := read_request(connection):
            requests.append(request)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n"
            )

    with receiving(behave) as receiver:
        for _ in range(2):
            assert sender.send(receiver.url, BODY, {}) == Answer(200)
    assert b"cookie" not in requests[1].lower()


def test_no_library_logs_a_url(sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with receiving(keeping_open()) as receiver:
        assert sender.send(f"{receiver.url}?token=very-secret", BODY, {}) == Answer(200)
    assert "very-secret" not in caplog.text
