"""Key uses: when each API key was last used; noted in memory, written together now and then.

GatewayOnly notes the credential of each request that the gateway vouched for; admin shows the rows.
"""

import asyncio
import contextlib
import itertools
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from services.core.availability import Availability
from services.core.background import going_on
from services.core.database_calls import Calls, DatabaseAwayError

# Seconds between two writes. Operations is promised the last use to a minute.
EVERY = 30.0

# Keys that one process remembers at most: several for each of 10,000 partners; 8 MB, and as much
# again while the database is away. A key beyond it is noted when it is used after the next write.
MOST_KEYS = 50_000

AT_ONCE = 1_000  # rows of a statement; to put them together holds requests up for 2 to 5 ms
WRITE_WITHIN = 1.5  # seconds for a statement, and for all of the last ones at shutdown

UUID_LENGTH = 36  # characters
UUID_FORM = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Uses = Mapping[str, float]  # seconds since 1970 by credential id
Write = Callable[[Uses], Awaitable[None]]

log = structlog.get_logger()


class KeyUses:
    """The uses of one process that are not written yet."""

    def __init__(
        self,
        write: Write,
        *,
        every: float,
        clock: Callable[[], float],
        availability: Availability,
    ) -> None:
        """Take seconds between writes, a clock of seconds since 1970, and who tells of failures."""
        self._write_uses = write
        self._every = every
        self._clock = clock
        self._availability = availability
        self._noted: dict[bytes, float] = {}
        self._unwritten: dict[str, float] = {}

    def note(self, credential_id: bytes) -> None:
        """Note that a key was used now; a credential id of another form is not one of ours.

        It is on the read path: 0.2 us of the 150 to 200 that a cached query takes. The clock is
        0.05 of that. One time for all uses between two writes would do for a minute, but could show
        a key as used after it was revoked, or before it was made.
        """
        noted = self._noted
        if credential_id in noted or (len(credential_id) == UUID_LENGTH and len(noted) < MOST_KEYS):
            noted[credential_id] = self._clock()

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncGenerator[None]:
        """Write every so often, and once more at the end."""
        writing = asyncio.create_task(self._write_forever())
        try:
            yield
        finally:
            writing.cancel()
            await asyncio.wait({writing})
            with contextlib.suppress(TimeoutError), going_on("key_uses.failed"):
                await asyncio.wait_for(self.write(), WRITE_WITHIN)
            if self._unwritten:
                log.warning("key_uses.lost", keys=len(self._unwritten))

    async def write(self) -> None:
        """Write what was noted; what can't be written now is kept for the next time."""
        self._take_noted()
        try:
            while self._unwritten:
                some = dict(itertools.islice(self._unwritten.items(), AT_ONCE))
                await self._write_uses(some)
                self._availability.succeeded()
                for key_id in some:
                    del self._unwritten[key_id]
        except DatabaseAwayError:
            pass  # told by whoever raised it
        except psycopg.Error as exc:  # a missing right or table, a server that only reads
            self._availability.failed(exc)

    async def _write_forever(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            with going_on("key_uses.failed"):
                await self.write()

    def _take_noted(self) -> None:
        """Move what was noted to what is to be written."""
        noted, self._noted = self._noted, {}
        for given, used_at in noted.items():
            credential_id = given.lower()
            if not UUID_FORM.fullmatch(credential_id):
                continue
            key_id = credential_id.decode("ascii")
            if key_id in self._unwritten or len(self._unwritten) < MOST_KEYS:
                self._unwritten[key_id] = max(used_at, self._unwritten.get(key_id, used_at))


# Rows are locked in the order of their ids, so two processes never wait for each other in a circle.
UPSERT_USES = """
INSERT INTO key_uses AS known (key_id, last_used_at)
SELECT key_id, to_timestamp(used_at)
FROM unnest(%(ids)s::uuid[], %(times)s::float8[]) AS used (key_id, used_at)
ORDER BY key_id
ON CONFLICT (key_id) DO UPDATE
    SET last_used_at = greatest(known.last_used_at, excluded.last_used_at)
"""


class KeyUseStore:
    """The uses of one environment's keys in PostgreSQL."""

    def __init__(self, calls: Calls) -> None:
        """Take the calls of a pool that its owner opens and closes."""
        self._calls = calls

    async def write(self, uses: Uses) -> None:
        """Write last uses, never an earlier one over a later. Raises DatabaseAwayError."""
        values = {"ids": list(uses), "times": list(uses.values())}

        async def upsert(connection: AsyncConnection[TupleRow]) -> None:
            await connection.execute(UPSERT_USES, values)

        # As a read is: it may be done twice, the second time changes nothing.
        await self._calls.read(upsert, within=WRITE_WITHIN)
