"""Servers: reads and versioned writes on the one Valkey that holds the cache; cluster.py has many.

All keys of a batch go in one command, so a batch is one round trip (Q8).
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from libvalkey import ReplyError, pack_command

from services.core.availability import Availability
from services.query.breaker import ServerAwayError
from services.query.cache_url import CacheAddress
from services.query.node import Node
from services.query.valkey_connection import Reply

READ_WITHIN = 0.1  # seconds; longer and PostgreSQL is the quicker way
WRITE_WITHIN = 1.0  # seconds; no request waits for a write

# One round trip for a batch. A value of an unknown form is replaced, whatever it is.
WRITE_NEWER = """
local written = 0
for i, key in ipairs(KEYS) do
  local old = redis.pcall('GETRANGE', key, 0, 31)
  if type(old) ~= 'string' or #old ~= 32 or string.find(old, '%D') then old = '' end
  if string.sub(ARGV[i + 1], 1, 32) > old then
    redis.call('SET', key, ARGV[i + 1], 'PXAT', ARGV[1])
    written = written + 1
  end
end
return written
"""
WRITE_NEWER_SHA = hashlib.sha1(WRITE_NEWER.encode(), usedforsecurity=False).hexdigest()


class Breakers(NamedTuple):
    """How many servers are asked, how many are not as they are away, and how often one was so."""

    closed: int
    open: int
    times_opened: int  # since the start, servers that have left included


class Servers(Protocol):
    """Where the cache's values are; each key is whole, its prefix included."""

    @property
    def breakers(self) -> Breakers:
        """How its servers are taken to be."""
        ...

    def refuse_if_away(self) -> None:
        """Raise ServerAwayError when it is known that none of them can be asked."""
        ...

    async def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return a value for each key, None where there is none. Raises ServerAwayError."""
        ...

    async def write(self, keys: Sequence[str], values: Sequence[bytes], expire_ms: int) -> int:
        """Write values that are newer than what is there; return how many those were.

        They expire at `expire_ms` (milliseconds since 1970). Raises ServerAwayError.
        """
        ...

    async def ping(self) -> None:
        """Raise ServerAwayError unless reads work."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...


class OneServer:
    """The Servers of a cache that is one Valkey."""

    def __init__(self, address: CacheAddress, prefix: str, availability: Availability) -> None:
        """Nothing connects before it is needed; `prefix` is a key that nobody writes."""
        probe = pack_command(("GET", prefix))
        self._node = Node(address.seeds[0], address.login, probe=probe, availability=availability)

    @property
    def breakers(self) -> Breakers:
        """As Servers."""
        breaker = self._node.breaker
        return Breakers(int(not breaker.is_open), int(breaker.is_open), breaker.times_opened)

    def refuse_if_away(self) -> None:
        """As Servers."""
        if self._node.breaker.is_open:
            raise ServerAwayError

    async def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """As Servers."""
        breaker = self._node.breaker
        (reply,) = await self._node.ask(pack_command(("MGET", *keys)), 1, READ_WITHIN)
        if isinstance(reply, list):
            breaker.succeeded()
            return reply  # pyright: ignore[reportUnknownVariableType]
        reason = ServerAwayError(str(reply))
        breaker.failed(reason)
        raise reason

    async def write(self, keys: Sequence[str], values: Sequence[bytes], expire_ms: int) -> int:
        """As Servers."""
        arguments = (len(keys), *keys, expire_ms, *values)
        reply = await self._run(("EVALSHA", WRITE_NEWER_SHA, *arguments))
        if is_no_script(reply):  # a Valkey that was restarted or never saw it
            reply = await self._run(("EVAL", WRITE_NEWER, *arguments))
        if isinstance(reply, int):
            self._node.breaker.succeeded()
            return reply
        # It does not write, for it is full or a replica: no reason not to read from it.
        reason = ServerAwayError(str(reply))
        self._node.availability.failed(reason)
        raise reason

    async def ping(self) -> None:
        """As Servers."""
        await self._node.ping()

    def close(self) -> None:
        """As Servers."""
        self._node.close()

    async def _run(self, command: tuple[str | int | bytes, ...]) -> Reply:
        (reply,) = await self._node.ask(pack_command(command), 1, WRITE_WITHIN)
        return reply


def is_no_script(reply: Reply) -> bool:
    """Say whether a server does not know the script yet."""
    return isinstance(reply, ReplyError) and str(reply).startswith("NOSCRIPT")
