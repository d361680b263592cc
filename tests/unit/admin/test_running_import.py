"""The answer of an import while it runs."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from litestar import Request

from services.admin.stock import running
from services.admin.stock.importing import ImportReport
from services.core.errors import ErrorCode, PartnerError


@pytest.mark.parametrize(
    "failure", [sqlite3.OperationalError("database or disk is full"), OSError(28, "No space left")]
)
def test_an_import_without_room_is_unavailable_with_a_sentence(failure: Exception) -> None:
    async def failing() -> ImportReport:
        raise failure

    async def report() -> None:
        started = running.RunningImport()
        started.task = asyncio.ensure_future(failing())
        assert await started.has_ended()
        started.report()

    with pytest.raises(PartnerError, match="temporary folder can't keep") as caught:
        asyncio.run(report())
    assert caught.value.code == ErrorCode.SERVICE_UNAVAILABLE


def test_an_import_sends_its_last_progress_and_something_during_a_slow_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running, "PROGRESS_EVERY", 0.01)
    monkeypatch.setattr(running, "SOMETHING_EVERY", 0.05)

    class Ending(running.RunningImport):
        looks = 0

        async def has_ended(self, within: float | None = None) -> bool:
            self.looks += 1
            await asyncio.sleep(within or 0)
            if self.looks == 20:
                self.note(7, 7)
            return self.looks == 20

        def report(self) -> ImportReport:
            return ImportReport(file="f", sha256="", dry_run=False, written=True)

    @contextlib.asynccontextmanager
    async def run() -> AsyncGenerator[running.RunningImport]:
        yield Ending()

    async def sent() -> list[Any]:
        answer = running.JsonLines(Request({"type": "http"}), run())  # pyright: ignore
        stream = answer.to_asgi_response(headers={})
        return [json.loads(line) async for line in stream.iterator]  # pyright: ignore

    *waiting, last_progress, report = asyncio.run(sent())
    assert waiting
    assert all(each == {"done": 0, "total": 0} for each in waiting)
    assert last_progress == {"done": 7, "total": 7}
    assert list(report) == ["report"]
