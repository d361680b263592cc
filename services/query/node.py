"""Node: one Valkey server: its connection, made when needed, and the breaker around it."""

import asyncio
import time

from libvalkey import ReplyError

from services.core.availability import Availability
from services.query.breaker import Breaker, ServerAwayError
from services.query.cache_url import Address, Login
from services.query.valkey_connection import Connection, NoAnswerError, Reply, connect

CONNECT_WITHIN = 1.0  # seconds; a request waits for it no longer than for a reply
PROBE_WITHIN = 0.1  # seconds; as long as a read has


class Node:
    """One server."""

    def __init__(
        self, address: Address, login: Login, *, probe: bytes, availability: Availability
    ) -> None:
        """`probe` is a packed read; any answer to it but an error says that reads work."""
        self.address = address
        self.availability = availability
        self._login = login
        self._probe = probe
        self.breaker = Breaker(
            self.ping, opened=self._drop, availability=availability, clock=time.monotonic
        )
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for it."""
        return self._connecting is None and (self._connection is None or self._connection.is_idle)

    async def ask(self, commands: bytes, count: int, within: float) -> list[Reply]:
        """Return the replies to `count` packed commands. Raises ServerAwayError.

        The caller tells the breaker whether they are good; this one tells it when there are none.
        """
        if self.breaker.is_open:
            msg = "known to be away"
            raise ServerAwayError(msg)
        return await self._ask(commands, count, within)

    async def ping(self) -> None:
        """Raise ServerAwayError unless reads work, whatever the breaker thinks."""
        connection = self._connection or await self._connected(PROBE_WITHIN)
        (reply,) = await connection.send(self._probe, 1, PROBE_WITHIN)
        if isinstance(reply, ReplyError) and not is_redirection(reply):
            raise ServerAwayError(str(reply))

    def close(self) -> None:
        """End everything."""
        self.breaker.close()
        if self._connecting is not None:
            self._connecting.cancel()
        self._drop()

    async def _ask(self, commands: bytes, count: int, within: float) -> list[Reply]:
        try:
            connection = self._connection or await self._connected(within)
            return await connection.send(commands, count, within)
        except NoAnswerError as exc:
            self.breaker.failed(exc)
            raise

    async def _connected(self, within: float) -> Connection:
        """Return a connection; whoever comes while one is being made waits for the same."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(_note_failure)
        connecting = self._connecting
        # Unlike a plain await, wait leaves the task alone when this is cancelled or too late.
        await asyncio.wait({connecting}, timeout=within)
        if not connecting.done():
            msg = f"no connection in {within} s"
            raise NoAnswerError(msg)
        return connecting.result()

    async def _connect(self) -> Connection:
        try:
            self._connection = await connect(
                self.address, self._login, within=CONNECT_WITHIN, lost=self._lose
            )
        except ServerAwayError as exc:
            self.breaker.failed(exc)
            raise
        finally:
            self._connecting = None
        return self._connection

    def _lose(self, connection: Connection, reason: ServerAwayError) -> None:
        """One failure, however many waited for replies."""
        if self._connection is connection:
            self._connection = None
            self.breaker.failed(reason)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def is_redirection(reply: Reply) -> bool:
    """Say whether a node of a Cluster sends us to another one."""
    return isinstance(reply, ReplyError) and str(reply).startswith(("MOVED ", "ASK "))


def _note_failure(task: asyncio.Task[Connection]) -> None:
    """Take note of an exception, lest asyncio complains when nobody waits any more."""
    if not task.cancelled():
        task.exception()
