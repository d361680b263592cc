"""Cycle: one request on a connection and the writing of its answer, head and body in one piece.

uvicorn's own writes them apart and checks each header again: 20 us of a request's 100.
"""

import asyncio
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from services.local.gateway.responses import WITHOUT_BODY, HeaderList

_log = structlog.get_logger()


class Cycle(RequestResponseCycle):
    """One request and its answer; an answer that stays incomplete breaks the connection off."""

    _head: bytes | None = None  # written together with the first piece of the body

    async def send(self, message: Any) -> None:  # noqa: ANN401 -- uvicorn's own signature
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if self._head is None:
            self._start(message["status"], message["headers"])
        else:
            self._write(message["body"], more=message["more_body"])

    def _start(self, status: int, headers: HeaderList) -> None:
        """Make the head; names are in lower case, values came through a parser or are our own."""
        if self.waiting_for_100_continue:
            # The client was not asked for its body: the next bytes could be that or a request.
            self.keep_alive = False
            self.waiting_for_100_continue = False
        names = dict(headers)
        self._bodiless = self.scope["method"] == "HEAD" or status in WITHOUT_BODY
        self.chunked_encoding = False
        framing: HeaderList = []
        if b"content-length" not in names and not self._bodiless:
            # A body for HTTP/1.0 ends with its connection, which is never kept.
            self.chunked_encoding = self.scope["http_version"] != "1.0"
            if self.chunked_encoding:
                framing.append((b"transfer-encoding", b"chunked"))
        if not self.keep_alive:
            framing.append((b"connection", b"close"))
        fields = [b"%b: %b\r\n" % pair for pair in (*self.default_headers, *headers, *framing)]
        self._head = b"%b%b\r\n" % (_status_line(status), b"".join(fields))

    def _write(self, body: bytes, *, more: bool) -> None:
        if self._bodiless:
            body = b""
        elif self.chunked_encoding:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body = body if more else body + b"0\r\n\r\n"
        self.transport.write(body if self.response_started else (self._head or b"") + body)
        self.response_started = True
        if not more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()

    async def run_asgi(self, app: Any) -> None:  # noqa: ANN401 -- uvicorn's own signature
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            pass  # by connection_lost below, or by a shutdown that waited long enough
        except Exception:  # noqa: BLE001 -- the last place that can log it
            _log.exception("request.failed")
        finally:
            self.on_response = _nothing
            if not self.response_complete and not self.disconnected:
                self.transport.abort()


def _nothing() -> None:
    pass


def _status_line(status: int) -> bytes:
    return STATUS_LINE.get(status) or b"HTTP/1.1 %d \r\n" % status
