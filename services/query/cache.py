"""Cache: items in Valkey, none older than its bound or replaced by an older version (Q7, Q8).

A value is a header of fixed width and the item's bytes:

    version, 19 digits | when its database read began, ms since 1970, 13 digits | P or A | item

P: present; A: absent, there is no such product and no item. The first 32 bytes order two values of
one product: by version, then by which of two reads of that version began later.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol, cast

from libvalkey import pack_command
from valkey.asyncio import BlockingConnectionPool, Connection, Valkey
from valkey.exceptions import NoScriptError, ValkeyError
from valkey.typing import EncodableT

from services.kernel.availability import Availability
from services.kernel.environments import Environment
from services.query.items import ABSENT, Entry

READ_WITHIN = 0.1  # seconds; longer and PostgreSQL is the quicker way
WRITE_WITHIN = 1.0  # seconds; no request waits for a write
CONNECTIONS = 64  # of one process; more requests than that wait for one, inside READ_WITHIN
CLOCK_SKEW_MS = 1_000  # two machines' clocks may differ by this; one more ahead is not believed
ORDER, FLAG = 32, 33  # bytes: where the ordering part and the whole header end
BEGAN = slice(19, ORDER)

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


class PackingConnection(Connection):
    """Packs commands in C: 100 keys take 5 us instead of valkey-py's 50."""

    def pack_command(self, *args: EncodableT) -> list[bytes]:
        """Return the command's bytes; its name must be one word."""
        return [pack_command(args)]


class CacheAwayError(Exception):
    """Valkey is away, too slow, or answers what makes no sense."""


class _Scripts(Protocol):
    """The part of valkey-py's client that its own annotations leave open."""

    async def mget(self, keys: Sequence[str]) -> list[bytes | None]: ...
    async def evalsha(self, sha: str, numkeys: int, *keys_and_args: object) -> int: ...
    async def eval(self, script: str, numkeys: int, *keys_and_args: object) -> int: ...
    async def ping(self) -> bool: ...


class Cache:
    """Items of one environment in Valkey."""

    def __init__(
        self,
        url: str,
        environment: Environment,
        *,
        max_age: timedelta,
        clock: Callable[[], float],
        availability: Availability,
    ) -> None:
        """Take the clock (seconds since 1970); connections are made when they are needed."""
        pool = BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
            url,
            connection_class=PackingConnection,
            max_connections=CONNECTIONS,
            timeout=None,  # a call's own limit covers the wait for a connection
            socket_timeout=None,
            lib_name=None,
            lib_version=None,
        )
        self._client = Valkey.from_pool(pool)
        self._commands = cast("_Scripts", self._client)
        self._prefix = f"{environment}:item:"
        self._max_age_ms = round(max_age.total_seconds() * 1000)
        self._clock = clock
        self._availability = availability
        self._script_sha = _sha1(WRITE_NEWER)

    async def read(self, product_ids: Sequence[str]) -> list[bytes | None]:
        """Return for each id its item, ABSENT, or None when the cache does not know.

        Raises CacheAwayError.
        """
        prefix = self._prefix
        keys = [prefix + product_id for product_id in product_ids]
        try:
            async with asyncio.timeout(READ_WITHIN):
                values = await self._commands.mget(keys)
        except (ValkeyError, OSError, TimeoutError) as exc:
            self._availability.failed(exc)
            raise CacheAwayError from exc
        self._availability.succeeded()
        now = int(self._clock() * 1000)
        # Thirteen digits until the year 2286: bytes compare as the numbers do.
        oldest = str(now - self._max_age_ms).encode()
        newest = str(now + CLOCK_SKEW_MS).encode()
        return [
            value[FLAG:] if value and _believed(value, oldest, newest) else None for value in values
        ]

    async def write(self, entries: Sequence[Entry], *, read_began: float) -> int:
        """Write entries that were read from PostgreSQL at `read_began` (seconds since 1970).

        Older ones than the cache holds are left out; return how many were written. They expire
        max_age after `read_began`, however late this comes. Raises CacheAwayError.
        """
        if not entries:
            return 0
        began_ms = int(read_began * 1000)
        keys = [self._prefix + entry.product_id for entry in entries]
        values = [_value(entry, began_ms) for entry in entries]
        arguments = [*keys, began_ms + self._max_age_ms, *values]
        try:
            async with asyncio.timeout(WRITE_WITHIN):
                written = await self._run_script(len(keys), arguments)
        except (ValkeyError, OSError, TimeoutError) as exc:
            self._availability.failed(exc)
            raise CacheAwayError from exc
        self._availability.succeeded()
        return written

    async def ping(self) -> None:
        """Raise unless Valkey answers in the time that a read has."""
        async with asyncio.timeout(READ_WITHIN):
            await self._commands.ping()

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose(close_connection_pool=True)

    async def _run_script(self, keys: int, arguments: Sequence[object]) -> int:
        try:
            return await self._commands.evalsha(self._script_sha, keys, *arguments)
        except NoScriptError:  # a Valkey that was restarted or never saw it
            return await self._commands.eval(WRITE_NEWER, keys, *arguments)


def _believed(value: bytes, oldest: bytes, newest: bytes) -> bool:
    """Say whether a value is of our form and its age within the bound, by our own clock."""
    if not oldest <= value[BEGAN] <= newest:
        return False
    return value[ORDER:FLAG] == (b"P" if len(value) > FLAG else b"A")


def _value(entry: Entry, began_ms: int) -> bytes:
    flag = b"A" if entry.item == ABSENT else b"P"
    return b"%019d%013d%s%s" % (entry.version, began_ms, flag, entry.item)


def _sha1(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
