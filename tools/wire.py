"""Wire: a client that sends exact bytes over a socket and reads answers back, one by one."""

import contextlib
import json
import socket
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

DEADLINE = 10.0  # seconds; no gateway takes longer to answer anything here


class BrokenAnswerError(Exception):
    """The connection ended before an answer was complete."""


@dataclass
class Answer:
    """One answer as it came."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """Return the one value of a header; two of them are a fault."""
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def json(self) -> Any:  # noqa: ANN401 -- tests look into it as it is
        """The body as JSON."""
        return json.loads(self.body)


class Wire:
    """One connection to a gateway."""

    def __init__(self, host: str, port: int, source: str | None = None) -> None:
        self._socket = socket.create_connection(
            (host, port), timeout=DEADLINE, source_address=(source, 0) if source else None
        )
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Go away."""
        self._socket.close()

    @property
    def patience(self) -> float | None:
        """How many seconds to wait for bytes."""
        return self._socket.gettimeout()

    @patience.setter
    def patience(self, seconds: float) -> None:
        self._socket.settimeout(seconds)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def end(self) -> None:
        """Say that nothing more will be sent; answers can still be read."""
        with contextlib.suppress(OSError):  # the other side was quicker
            self._socket.shutdown(socket.SHUT_WR)

    def answer(self, method: str = "GET") -> Answer:
        """Read one answer; `method` tells whether it can have a body."""
        answer = self.head()
        if method == "HEAD" or answer.status in (204, 304):
            return answer
        if (length := answer.header("Content-Length")) is not None:
            answer.body = self.exactly(int(length))
        elif answer.header("Transfer-Encoding") == "chunked":
            answer.body = self._chunks()
        else:
            answer.body = self.rest()
        return answer

    def head(self) -> Answer:
        """Read the head of an answer."""
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, _, status = lines[0].partition(" ")
        assert version.startswith("HTTP/1."), lines[0]
        pairs = [line.split(":", 1) for line in lines[1:] if line]
        return Answer(int(status[:3]), [(name, value.strip()) for name, value in pairs])

    def chunk(self) -> bytes:
        """Read one chunk of a chunked answer; empty at its end."""
        size = int(self._until(b"\r\n").split(b";")[0], 16)
        data = self.exactly(size)
        self.exactly(2)
        return data

    def exactly(self, size: int) -> bytes:
        """Read so many bytes."""
        while len(self._read) < size:
            self._more()
        data, self._read = self._read[:size], self._read[size:]
        return data

    def rest(self) -> bytes:
        """Read to the end of the connection."""
        try:
            while True:
                self._more()
        except BrokenAnswerError:
            data, self._read = self._read, b""
            return data

    def _chunks(self) -> bytes:
        pieces: list[bytes] = []
        while piece := self.chunk():
            pieces.append(piece)
        return b"".join(pieces)

    def _until(self, end: bytes) -> bytes:
        while end not in self._read:
            self._more()
        data, self._read = self._read.split(end, 1)
        return data

    def _more(self) -> None:
        try:
            data = self._socket.recv(65536)
        except ConnectionError as error:
            raise BrokenAnswerError(repr(error)) from error
        if not data:
            unread = f"the connection ended; unread: {self._read[:80]!r}"
            raise BrokenAnswerError(unread)
        self._read += data


def request(
    method: str, target: str, *headers: tuple[str, str], host: str = "gateway", body: bytes = b""
) -> bytes:
    """Return the bytes of a request; a body gets its Content-Length."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(*pieces: bytes) -> bytes:
    """Return a whole chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))
