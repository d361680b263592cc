"""Request scope: the outermost layer of a service; request id, time taken, log lines (A5, D4).

What it costs a hot query, of some 50 us: the id 0.7 us (2.8 more for one of our own: the gateway
sends one), the histogram 0.3, to bind the id for the log 0.4, its header 0.5, and 2 for its line:
core/http/request_lines.py. structlog's takes 20 us and is for failures and slow answers, and where
lines are for people (LOG_FORMAT=console) for one answer in a thousand.
"""

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping

import structlog
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from services.core.errors import ErrorCode, envelope
from services.core.headers import REQUEST_ID, REQUEST_ID_PATTERN
from services.core.http.metrics import OTHER, RequestMetrics
from services.core.logs import request_lines, shown_path

SLOW = 0.2  # seconds; partners are promised 200 ms (Q6), so a slower answer leaves a line
SAMPLED = 1_000  # of so many answers that are neither slow nor failures one leaves a line
UNEXPECTED = "An unexpected error occurred"
NOT_KEPT = (b"cache-control", b"no-store")  # stock ages in seconds, and an error is soon mended
_HEADER = REQUEST_ID.lower().encode()

log = structlog.get_logger()


class RequestScope:
    """Wraps a service: a request id and a measured time for all, an envelope for the uncaught."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: RequestMetrics,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Take the clock that durations are measured with, in seconds."""
        self._app = app
        self._observe = metrics.observe
        self._clock = clock
        self._until_sample = SAMPLED

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._clock()
        given: dict[bytes, bytes] = dict(scope["headers"])
        request_id = request_id_for(given)
        scope["state"] = {"request_id": request_id, "headers": given}
        structlog.contextvars.bind_contextvars(request_id=request_id)
        answer = _Answer(send, request_id)
        try:
            await self._app(scope, receive, answer)
        except Exception:
            log.exception("request.failed", path=shown_path(scope["path"]))
            if answer.status:
                raise  # half an answer is out: the server can only break the connection off
            await answer_unexpected(answer, request_id)
        finally:
            took = self._clock() - began
            # Litestar's router, or Resources of webhooks, has noted which template took the path.
            self._observe(scope.get("path_template") or OTHER, answer.status, took)
            self._note(scope, request_id, answer.status, took)

    def _note(self, scope: HTTPScope, request_id: str, status: int, took: float) -> None:
        lines = request_lines()
        if lines is None:
            self._until_sample -= 1
        if took > SLOW or status >= 500 or not self._until_sample:
            self._tell(scope, status, took)
        elif lines is not None:
            lines.add(request_id, scope["method"], shown_path(scope["path"]), status, took)

    def _tell(self, scope: HTTPScope, status: int, took: float) -> None:
        if not self._until_sample:
            self._until_sample = SAMPLED
        unusual = log.warning if took > SLOW or status >= 500 else log.info
        unusual(
            "request.slow" if took > SLOW else "request.answered",
            path=shown_path(scope["path"]),
            method=scope["method"],
            status=status,
            milliseconds=round(took * 1000, 1),
        )


class _Answer:
    """The `send` of one request: adds the request id, remembers the status (0: none yet)."""

    __slots__ = ("_request_id", "_send", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id.encode()
        self.status = 0

    # Not async: it hands on what `send` returns. One coroutine fewer for each message.
    def __call__(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (_HEADER, self._request_id)]
        return self._send(message)


def request_id_for(given: Mapping[bytes, bytes]) -> str:
    """Return the caller's request id if it is well formed, else a new one."""
    request_id = given.get(_HEADER, b"").decode("latin-1")
    return request_id if REQUEST_ID_PATTERN.fullmatch(request_id) else str(uuid.uuid4())


def request_headers(scope: Scope) -> dict[bytes, bytes]:
    """Return the headers by their names in lower case; the last one, if one is sent twice.

    RequestScope has made it once for all who ask: 1 us for the 19 headers that Kong sends.
    """
    return scope["state"]["headers"]


def current_request_id(scope: Scope) -> str:
    """Return the id that RequestScope gave to the request of this scope."""
    return str(scope["state"]["request_id"])


async def answer_unexpected(send: Send, request_id: str) -> None:
    """Send the 500 that says nothing of what went wrong; the log does."""
    body = envelope(ErrorCode.INTERNAL_ERROR, UNEXPECTED, request_id)
    await send_json(send, 500, body)


async def send_json(send: Send, status: int, body: bytes) -> None:
    """Send a whole answer of finished JSON bytes."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        NOT_KEPT,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
