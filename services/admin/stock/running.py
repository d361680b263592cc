"""Running: an import in a thread, its progress as lines of JSON, and its end in order."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import IO, Any, cast

import msgspec
from litestar import Request, Response
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Send

from services.admin.stock.importing import BrokenOffError, Import, ImportReport
from services.core.errors import ErrorCode, PartnerError
from services.core.headers import JSON_LINES
from services.core.http.assembly import FailureHandlers

PROGRESS_EVERY = 0.3  # seconds
# A batch may take longer than clients wait for the next byte, which is 120 s for the command line.
SOMETHING_EVERY = 10.0  # seconds


AnyRequest = Request[Any, Any, Any]


def no_room(exc: Exception) -> PartnerError:
    """Return the answer to an import whose file or lines can't be kept while it runs."""
    msg = (
        f"admin's temporary folder can't keep the import's lines ({exc}): make room there, and"
        " look in the audit log whether the import had begun"
    )
    return PartnerError(ErrorCode.SERVICE_UNAVAILABLE, msg)


class Progress(msgspec.Struct, frozen=True):
    """How many of the lines that can be used are done."""

    done: int
    total: int


NOTHING_YET = Progress(0, 0)


class RunningImport:
    """An import in a thread of its own; the thread calls note, is_ending and sleep."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self.progress: Progress | None = None
        self.ending = threading.Event()
        self.task: asyncio.Task[ImportReport]

    def note(self, done: int, total: int) -> None:
        """Take how far the import is."""
        self.progress = Progress(done, total)

    async def has_ended(self, within: float | None = None) -> bool:
        """Wait for the end, at most `within` seconds; say whether it has come."""
        await asyncio.wait({self.task}, timeout=within)
        return self.task.done()

    def report(self) -> ImportReport:
        """Return the report of an import that has ended. Raises what the import has raised."""
        try:
            return self.task.result()
        except BrokenOffError as exc:
            raise PartnerError(ErrorCode.SERVICE_UNAVAILABLE, str(exc)) from exc
        except (sqlite3.Error, OSError) as exc:
            raise no_room(exc) from exc


MakeImport = Callable[[RunningImport], Import]
Running = AbstractAsyncContextManager[RunningImport]


@asynccontextmanager
async def running(make: MakeImport, file: IO[bytes], name: str) -> AsyncGenerator[RunningImport]:
    """Run an import for the length of a with block, and close its file.

    A block that is left early (the server ends) waits until the import has stopped behind a batch.
    """
    started = RunningImport()
    with file:
        started.task = asyncio.ensure_future(asyncio.to_thread(make(started).run, file, name))
        try:
            yield started
        finally:
            started.ending.set()
            await asyncio.wait({started.task})
            started.task.exception()  # how far it came is in the audit log, nobody may be there


class JsonLines(Response[ImportReport]):
    """An answer of JSON lines: progress, then the report or an error in the one shape (A5)."""

    def __init__(self, request: AnyRequest, run: Running) -> None:
        """Take an import that has not begun."""
        super().__init__(b"", media_type=JSON_LINES)  # pyright: ignore[reportArgumentType]
        self._lines = _lines(request, run)

    def to_asgi_response(self, *_: object, **given: Any) -> ASGIStreamingResponse:  # noqa: ANN401
        """Return the answer with the headers of its route."""
        return _ToTheEnd(iterator=self._lines, headers=given["headers"], media_type=self.media_type)


class _ToTheEnd(ASGIStreamingResponse):
    """Sends every line, and so lets the import end, also when the client has gone away.

    Litestar's own would cancel the import then.
    """

    async def send_body(self, send: Send, receive: Receive) -> None:
        del receive
        async with aclosing(self.iterator):  # pyright: ignore[reportArgumentType]
            await self._stream(send)


async def _lines(request: AnyRequest, run: Running) -> AsyncGenerator[bytes]:
    async with run as running:
        sent: Progress | None = None
        sent_at = time.monotonic()
        while not await running.has_ended(PROGRESS_EVERY):
            if running.progress != sent or time.monotonic() - sent_at > SOMETHING_EVERY:
                sent, sent_at = running.progress, time.monotonic()
                yield _line(sent or NOTHING_YET)
        if running.progress not in (sent, None):
            yield _line(running.progress)
        try:
            last = _line({"report": running.report()})
        except Exception as exc:  # noqa: BLE001 -- the app's handlers take every kind
            last = b'{"error":%b}\n' % _failure(request, exc).content
        yield last


def _failure(request: AnyRequest, exc: Exception) -> Response[bytes]:
    """Return the answer that an exception would have been, had none begun yet."""
    handlers = cast("FailureHandlers", request.app.exception_handlers)  # pyright: ignore[reportUnknownMemberType]
    return next(handlers[kind] for kind in type(exc).__mro__ if kind in handlers)(request, exc)


def _line(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"
