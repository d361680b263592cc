"""Refreshing goes on, whatever a read of it met."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from structlog.testing import capture_logs

from services.query.refreshing import Refresher


class Aging(SimpleNamespace):
    """A memory of which only what ages matters."""

    def take_aging(self, most: int) -> list[str]:
        taken, self.aging = list(self.aging)[:most], {}
        return taken


def test_a_read_that_fails_unexpectedly_is_logged_and_the_next_is_made() -> None:
    memory: Any = Aging(aging={"A": None})
    reads: list[Sequence[str]] = []
    done = asyncio.Event()

    async def read(ids: Sequence[str]) -> None:
        reads.append(ids)
        done.set()
        if len(reads) == 1:
            raise KeyError

    async def refresh() -> None:
        refresher = Refresher(memory, read)
        for each in ("A", "B"):
            memory.aging = {each: None}
            while not done.is_set():
                refresher.wake()
                await asyncio.sleep(0)
            done.clear()

    with capture_logs() as logs:
        asyncio.run(asyncio.wait_for(refresh(), 20))
    assert reads == [["A"], ["B"]]
    assert [each["event"] for each in logs] == ["refreshing.failed"]
