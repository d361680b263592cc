"""The line of each request."""

import asyncio
import json

import pytest

from services.core.http.request_lines import BATCH, RequestLines

PATHS = ["/partner/v1/inventory", '/a"b\\c', "/ü\n\x00/"]


def made(written: list[str]) -> RequestLines:
    return RequestLines(service='a "service"', environment="live", write=written.append)


@pytest.mark.parametrize("path", PATHS)
def test_each_request_is_one_line_of_json_whatever_its_path_holds(path: str) -> None:
    written: list[str] = []

    async def ask() -> None:
        lines = made(written)
        lines.add("an-id", "POST", path, 200, 0.00123)
        lines.flush()

    asyncio.run(ask())
    (line,) = "".join(written).splitlines()
    told = json.loads(line)
    assert told.pop("timestamp").endswith("Z")
    assert told == {
        "event": "request.answered",
        "level": "info",
        "request_id": "an-id",
        "method": "POST",
        "path": path,
        "status": 200,
        "milliseconds": 1.2,
        "service": 'a "service"',
        "environment": "live",
    }


def test_lines_are_written_when_a_batch_is_full_or_some_time_has_passed() -> None:
    written: list[str] = []

    async def ask() -> None:
        lines = made(written)
        for _ in range(BATCH + 1):
            lines.add("an-id", "GET", "/", 200, 0.1)
        assert written[0].count("\n") == BATCH
        while len(written) < 2:  # noqa: ASYNC110 -- the deadline is pytest's
            await asyncio.sleep(0.01)

    asyncio.run(ask())
    assert written[1].count("\n") == 1
