"""Receivers on loopback that do what a test tells them, byte by byte."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Generator

Behaviour = Callable[[socket.socket], None]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATIENCE = 10.0  # seconds that a receiver waits for its sender; far above each test's limits


class Receiver:
    """Accepts connections and lets `behaviour` have each of them."""

    def __init__(self, behaviour: Behaviour, family: socket.AddressFamily) -> None:
        self._behaviour = behaviour
        self._listener = socket.create_server(
            ("127.0.0.1" if family == socket.AF_INET else "::1", 0), family=family
        )
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.stopped = threading.Event()
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    def stop(self) -> None:
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(PATIENCE)
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # a test that leaves this process no files is survived
                if self.stopped.wait(0.01):
                    return
                continue
            self.connections += 1
            connection.settimeout(PATIENCE)
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._behaviour(connection)
        connection.close()


@contextlib.contextmanager
def receiving(
    behaviour: Behaviour, family: socket.AddressFamily = socket.AF_INET
) -> Generator[Receiver]:
    receiver = Receiver(behaviour, family)
    try:
        yield receiver
    finally:
        receiver.stop()


def read_request(connection: socket.socket) -> bytes:
    """Return one whole request, b"" when the sender closed first."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65536)
        if not more:
            return b""
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    size = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    while len(body) < size:
        more = connection.recv(65536)
        if not more:
            return b""
        body += more
    return head + b"\r\n\r\n" + body


def answering(*answers: bytes) -> Behaviour:
    """Answer the requests of a connection with these, one after another; then close it."""

    def behave(connection: socket.socket) -> None:
        for answer in answers:
            if read_request(connection):
                connection.sendall(answer)

    return behave


def keeping_open(answer: bytes = OK) -> Behaviour:
    """Answer every request of a connection, until the sender closes it."""

    def behave(connection: socket.socket) -> None:
        while read_request(connection):
            connection.sendall(answer)

    return behave


def then_waiting(answer: bytes) -> Behaviour:
    """Answer one request, and leave the connection open."""

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer)
        connection.recv(1)

    return behave


def reset(connection: socket.socket) -> None:
    """Close with a reset instead of an orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def over_tls(context: ssl.SSLContext, behaviour: Behaviour) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        # A copy, because TLS takes the socket away and the receiver must be able to end it.
        with context.wrap_socket(connection.dup(), server_side=True) as secured:
            behaviour(secured)

    return behave
