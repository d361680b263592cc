"""Valkey connection: one pipelined connection that every request of this process shares.

Replies come in the order of the commands. What comes up in one turn of the loop goes out in one
write, and 100 keys are packed in C: 5 us, where valkey-py's client takes 50 and a connection of its
own for each request under way.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from libvalkey import LibvalkeyError, Reader, ReplyError, pack_command

from services.query.breaker import ServerAwayError
from services.query.cache_url import Address, Login

# A timer can be late because this process was busy; a reply that already lies in the socket is
# read in the next turn of the loop, which this lets come before it counts as missing.
GRACE = 0.005  # seconds
SILENT = 2.0  # seconds without the oldest reply; then the connection is taken for dead

Reply = object  # bytes, int, None, a list of these, or a ReplyError


class NoAnswerError(ServerAwayError):
    """A reply did not come in time."""


class LostError(ServerAwayError):
    """There is no connection, or it was lost before the reply."""


class _Batch:
    """Commands that were sent together, and the replies that are there."""

    __slots__ = ("deadline", "replies", "result", "sent_at", "wanted")

    def __init__(
        self, result: asyncio.Future[list[Reply]], wanted: int, sent_at: float, deadline: float
    ) -> None:
        self.result = result
        self.wanted = wanted
        self.sent_at = sent_at
        self.deadline = deadline
        self.replies: list[Reply] = []


class Connection(asyncio.Protocol):
    """One connection; `connect` makes it."""

    def __init__(self, lost: Callable[["Connection", ServerAwayError], None]) -> None:
        """`lost` is called once, when it ended for whatever reason but `close`."""
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._reader = Reader()
        self._waiting: deque[_Batch] = deque()
        self._outgoing: list[bytes] = []
        self._watch: asyncio.TimerHandle | None = None
        self._watch_at = 0.0
        self._reason: Exception | None = None
        self._transport: asyncio.Transport | None = None
        self.is_closed = False

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for a reply."""
        return not self._waiting

    def send(self, commands: bytes, count: int, within: float) -> asyncio.Future[list[Reply]]:
        """Send `count` packed commands; their replies come within so many seconds, or not at all.

        The future raises NoAnswerError or LostError.
        """
        now = self._loop.time()
        result: asyncio.Future[list[Reply]] = self._loop.create_future()
        if self.is_closed:
            result.set_exception(LostError("the connection is closed"))
            return result
        deadline = now + within
        self._waiting.append(_Batch(result, count, now, deadline))
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(commands)
        if self._watch is None or deadline < self._watch_at:
            self._watch_until(deadline)
        return result

    def close(self, reason: Exception | None = None) -> None:
        """End it at once; who still waits gets LostError."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()
        self._end(LostError(f"connection lost: {self._reason}"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand replies to who waits for them."""
        try:
            self._reader.feed(data)
            gets = self._reader.gets
            while (reply := gets()) is not False:
                batch = self._waiting[0]
                batch.replies.append(reply)
                if len(batch.replies) == batch.wanted:
                    self._waiting.popleft()
                    if not batch.result.done():
                        batch.result.set_result(batch.replies)
        except (LibvalkeyError, IndexError) as exc:  # no Valkey, or more replies than commands
            self._fail(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        self._fail(exc or self._reason)

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _watch_until(self, deadline: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch_at = deadline
        self._watch = self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        self._watch = self._loop.call_later(GRACE, self._expire)

    def _expire(self) -> None:
        """Give up what is overdue, and the connection if it is silent."""
        self._watch = None
        now = self._loop.time()
        waiting = [batch for batch in self._waiting if not batch.result.done()]
        for batch in waiting:
            if batch.deadline <= now:
                within = round(batch.deadline - batch.sent_at, 1)
                batch.result.set_exception(NoAnswerError(f"no answer in {within} s"))
        due = [batch.deadline for batch in waiting if batch.deadline > now]
        if self._waiting and now - self._waiting[0].sent_at > SILENT:
            self._fail(TimeoutError(f"silent for {SILENT} s"))
        elif due:
            self._watch_until(min(due))

    def _fail(self, exc: Exception | None) -> None:
        if not self.is_closed:
            reason = LostError(f"connection lost: {exc}")
            self.close(exc)
            self._lost(self, reason)

    def _end(self, reason: LostError) -> None:
        self.is_closed = True
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        waiting, self._waiting = self._waiting, deque()
        for batch in waiting:
            if not batch.result.done():
                batch.result.set_exception(reason)


async def connect(
    address: Address,
    login: Login,
    *,
    within: float,
    lost: Callable[[Connection, ServerAwayError], None],
) -> Connection:
    """Return a connection that is logged in and was answered. Raises ServerAwayError."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(within):
            _, connection = await loop.create_connection(
                lambda: Connection(lost), address.host, address.port, ssl=login.tls
            )
    except (OSError, TimeoutError) as exc:
        msg = f"{type(exc).__name__}: {exc}"
        raise LostError(msg) from exc
    greeting = list(_greeting(login))
    try:
        replies = await connection.send(b"".join(greeting), len(greeting), within)
    except BaseException:
        connection.close()
        raise
    for reply in replies:
        if isinstance(reply, ReplyError):
            connection.close()
            raise LostError(str(reply))
    return connection


def _greeting(login: Login) -> list[bytes]:
    commands: list[tuple[str | int, ...]] = []
    if login.password:
        user = (login.username,) if login.username else ()
        commands.append(("AUTH", *user, login.password))
    if login.database:
        commands.append(("SELECT", login.database))
    # Without a word nobody knows whether it serves: a hanging one accepts connections too.
    commands.append(("PING",))
    return [pack_command(command) for command in commands]
