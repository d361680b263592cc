"""Raw load: finished requests over kept-alive sockets, as fast as the other side answers.

It builds nothing and decodes nothing but Content-Length, so that on a core of its own it waits most
of the time and is never what is measured: about 6 us for an answer. With many users it does not
sleep while it waits: to wake it costs the server up to 20 us an answer on a virtual machine, and
only a server slow enough to let it sleep. One user sleeps, as whoever measures a latency does.
"""

import itertools
import os
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

LARGEST = 256 * 1024  # bytes taken from a socket at once; an answer of 100 items has 14,000
LENGTH = b"content-length: "


@dataclass
class Answers:
    """What came back."""

    seconds: float = 0.0
    good: int = 0
    bad: int = 0
    latencies: list[float] = field(default_factory=list)  # seconds

    def count(self, status: bytes, latency: float) -> None:
        """Note one answer."""
        self.latencies.append(latency)
        if status == b"200":
            self.good += 1
        else:
            self.bad += 1


class _User:
    """One connection, and the request that is under way on it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = 0.0
        self._status = b""
        self._left = 0

    def send(self, request: bytes) -> None:
        self._status = b""
        self.sent = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bytes:
        """Take what is there; return the status once the answer is whole, until then nothing."""
        data = self.socket.recv(LARGEST)
        if not data:
            msg = "the server closed the connection"
            raise ConnectionResetError(msg)
        if self._status:
            self._left -= len(data)
        else:
            end = data.index(b"\r\n\r\n")  # uvicorn writes the head at once
            start = data.index(LENGTH, 0, end) + len(LENGTH)
            self._status = data[9:12]
            self._left = end + 4 + int(data[start : data.index(b"\r\n", start)]) - len(data)
        return self._status if self._left <= 0 else b""


def run_load(port: int, requests: Sequence[bytes], *, users: int, seconds: float) -> Answers:
    """Have each of `users` send requests one after another; every answer is awaited."""
    connections = [_User(port) for _ in range(users)]
    try:
        return _run(connections, itertools.cycle(requests), seconds)
    finally:
        for user in connections:
            user.socket.close()


def _ready(poll: select.epoll, *, users: int) -> list[tuple[int, int]]:
    """Return the sockets with an answer, once there is one; the stores get the core meanwhile."""
    if users == 1:
        return poll.poll()
    while not (ready := poll.poll(0)):
        os.sched_yield()
    return ready


def _run(
    connections: Sequence[_User], following: "itertools.cycle[bytes]", seconds: float
) -> Answers:
    answers = Answers()
    by_number = {user.socket.fileno(): user for user in connections}
    began = time.perf_counter()
    end = began + seconds
    with select.epoll() as poll:
        for user in connections:
            poll.register(user.socket, select.EPOLLIN)
            user.send(next(following))
        under_way = len(connections)
        while under_way:
            for number, _ in _ready(poll, users=len(connections)):
                user = by_number[number]
                status = user.receive()
                if not status:
                    continue
                now = time.perf_counter()
                answers.count(status, now - user.sent)
                if now < end:
                    user.send(next(following))
                else:
                    under_way -= 1
    answers.seconds = time.perf_counter() - began
    return answers
