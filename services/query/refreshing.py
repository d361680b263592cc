"""Refreshing: what is asked for and ages is read again in batches, beside the requests (Q7).

One batch at a time: those who wait for PostgreSQL come first. A product read with 99 others costs
15 us, one read with two others 170 (`make bench`): too much for the requests that meet them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from services.core.background import note_failure
from services.core.database_calls import DatabaseAwayError
from services.query.memory import Memory

COLLECT = 0.05  # seconds that ids are waited for while there are fewer than a batch
BATCH = 200  # ids


class Refresher:
    """Reads again what memory says is aging."""

    def __init__(self, memory: Memory, read: Callable[[Sequence[str]], Awaitable[object]]) -> None:
        """`read` puts what it finds into memory, or raises DatabaseAwayError."""
        self._memory = memory
        self._read = read
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Begin, if nothing is under way; there is something that ages."""
        if self._task is None:
            self._task = asyncio.create_task(self._refresh())

    def close(self) -> None:
        """End what is under way."""
        if self._task is not None:
            self._task.cancel()

    async def _refresh(self) -> None:
        try:
            while self._memory.aging:
                if len(self._memory.aging) < BATCH:
                    await asyncio.sleep(COLLECT)
                await self._read(self._memory.take_aging(BATCH))
        except DatabaseAwayError:
            await asyncio.sleep(COLLECT)  # served on from memory; the next reader wakes this again
        except Exception:  # noqa: BLE001 -- nobody waits for this task
            note_failure("refreshing.failed")
            await asyncio.sleep(COLLECT)
        finally:
            self._task = None
