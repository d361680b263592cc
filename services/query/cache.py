"""Cache: items in Valkey, none older than its bound or replaced by an older version (Q7, Q8).

A value is a header of fixed width and the item's bytes:

    version, 19 digits | when its database read began, ms since 1970, 13 digits | P or A | item

P: present; A: absent, there is no such product and no item. The first 32 bytes order two values of
one product: by version, then by which of two reads of that version began later.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta

from services.core.availability import Availability
from services.core.environments import Environment
from services.query.breaker import ServerAwayError
from services.query.cache_url import parse_cache_url
from services.query.cluster import Cluster
from services.query.items import ABSENT, Entry
from services.query.servers import Breakers, OneServer, Servers

CLOCK_SKEW_MS = 1_000  # two machines' clocks may differ by this; one more ahead is not believed
ORDER, FLAG = 32, 33  # bytes: where the ordering part and the whole header end
BEGAN = slice(19, ORDER)


class CacheAwayError(Exception):
    """Valkey is away, too slow, or answers what makes no sense."""


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
        """Take the clock (seconds since 1970); connections are made when they are needed.

        Raises ValueError for a URL that does not fit (cache_url.py).
        """
        address = parse_cache_url(url)
        self._prefix = f"{environment}:item:"
        kind = Cluster if address.is_cluster else OneServer
        self._servers: Servers = kind(address, self._prefix, availability)
        self._max_age_ms = round(max_age.total_seconds() * 1000)
        self._clock = clock

    @property
    def breakers(self) -> Breakers:
        """Which of its servers are asked; for the metrics."""
        return self._servers.breakers

    async def read(self, product_ids: Sequence[str]) -> list[bytes | None]:
        """Return for each id its item, ABSENT, or None when the cache does not know.

        Raises CacheAwayError.
        """
        values, oldest, newest = await self._values(product_ids)
        return [
            value[FLAG:] if value and _believed(value, oldest, newest) else None for value in values
        ]

    async def read_entries(self, product_ids: Sequence[str]) -> list[tuple[Entry, float] | None]:
        """Return for each id its entry and when that one's database read began, or None.

        As `read`, for a cache above this one. Raises CacheAwayError.
        """
        values, oldest, newest = await self._values(product_ids)
        return [
            (Entry(each, int(value[:19]), value[FLAG:]), int(value[BEGAN]) / 1000)
            if value and _believed(value, oldest, newest) and value[:ORDER].isdigit()
            else None
            for each, value in zip(product_ids, values, strict=True)
        ]

    async def write(self, entries: Sequence[Entry], *, read_began: float) -> int:
        """Write entries that were read from PostgreSQL at `read_began` (seconds since 1970).

        Older ones than the cache holds are left out; return how many were written. They expire
        max_age after `read_began`, however late this comes. Raises CacheAwayError.
        """
        if not entries:
            return 0
        try:
            self._servers.refuse_if_away()
            began_ms = int(read_began * 1000)
            keys = [self._prefix + entry.product_id for entry in entries]
            values = [_value(entry, began_ms) for entry in entries]
            return await self._servers.write(keys, values, began_ms + self._max_age_ms)
        except ServerAwayError as exc:
            raise CacheAwayError from exc

    async def ping(self) -> None:
        """Raise CacheAwayError unless Valkey answers in the time that a read has."""
        try:
            await self._servers.ping()
        except ServerAwayError as exc:
            raise CacheAwayError from exc

    async def close(self) -> None:
        """Close every connection."""
        self._servers.close()

    async def _values(self, product_ids: Sequence[str]) -> tuple[list[bytes | None], bytes, bytes]:
        """Return what Valkey holds, and between which times a value's read must have begun."""
        try:
            self._servers.refuse_if_away()  # before anything is made that nobody would take
            prefix = self._prefix
            keys = [prefix + product_id for product_id in product_ids]
            values = await self._servers.read(keys)
        except ServerAwayError as exc:
            raise CacheAwayError from exc
        now = int(self._clock() * 1000)
        # Thirteen digits until the year 2286: bytes compare as the numbers do.
        return values, str(now - self._max_age_ms).encode(), str(now + CLOCK_SKEW_MS).encode()


def _believed(value: bytes, oldest: bytes, newest: bytes) -> bool:
    """Say whether a value is of our form and its age within the bound, by our own clock."""
    if not oldest <= value[BEGAN] <= newest:
        return False
    return value[ORDER:FLAG] == (b"P" if len(value) > FLAG else b"A")


def _value(entry: Entry, began_ms: int) -> bytes:
    flag = b"A" if entry.item == ABSENT else b"P"
    return b"%019d%013d%s%s" % (entry.version, began_ms, flag, entry.item)
