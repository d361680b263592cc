"""Protocol: uvicorn's HTTP/1.1 connection with nginx's limits, and our own answer to bad requests.

A request that can't be understood becomes an ASGI request with a fault in its scope, so that it is
answered in its turn (pipelining) and in the shape of all other errors. Needs uvicorn's httptools
implementation; what is overridden here is checked by tests/gateway at each upgrade.
"""

import asyncio
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from services.core.http.protocol import UpgradeIgnoringProtocol
from services.local.gateway.cycle import Cycle
from services.local.gateway.proxy import FAULT

# nginx in Kong: large_client_header_buffers 4 8k. Bytes.
MAX_LINE = 8 * 1024
MAX_HEAD = 32 * 1024

REQUEST_ID = b"x-request-id"

_REFUSED_METHODS = frozenset(("CONNECT", "TRACE"))  # by nginx, 405
_VERSIONS = frozenset(("1.0", "1.1"))


class _FaultError(Exception):
    """A request that ends with `status` before it reaches a plugin."""


class GatewayProtocol(UpgradeIgnoringProtocol):
    """One connection of a client."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] -- as uvicorn does
        super().connection_made(transport)
        self._running: asyncio.Task[None] | None = None
        self._fault = 400
        self._refused = False  # nothing more is read after a fault
        self._unended = 0  # bytes read of a head that has not ended yet
        self._in_head = True
        self._moved = False  # a head ended in the last piece of data

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._running is not None:
            self._running.cancel()  # the service need not go on for a client that has gone

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        try:
            self.feed(data)
        except httptools.HttpParserError:
            self._refuse(self._fault)

    def feed(self, data: bytes) -> None:
        self._moved = False
        super().feed(data)
        # What began in this piece of data is counted with the next one.
        self._unended = self._unended + len(data) if self._in_head and not self._moved else 0
        if self._unended > MAX_HEAD + MAX_LINE:  # a line that never ends
            raise httptools.HttpParserError

    # The parser's callbacks, in their order.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._target = b""
        self._fields = 0  # bytes of header fields

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > MAX_LINE:
            self._raise_fault(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        size = len(name) + len(value) + 4  # ": " and CRLF
        self._fields += size
        if size > MAX_LINE or self._fields > MAX_HEAD:
            self._raise_fault(400)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._moved = True
        self._complete_scope()
        self._skipped_upgrade = self.parser.should_upgrade()
        keep_alive = self.scope["http_version"] != "1.0" and self.parser.should_keep_alive()
        self._begin(keep_alive=keep_alive)

    def _complete_scope(self) -> None:
        scope = self.scope
        scope["method"] = method = self.parser.get_method().decode("ascii")
        scope["http_version"] = version = self.parser.get_http_version()
        self._check_version_and_coding(version)
        if method in _REFUSED_METHODS:
            self._raise_fault(405)
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            self._raise_fault(400)
        target = self._target.partition(b"#")[0]
        if not target.startswith(b"/"):
            target = self._absolute(target)
        scope["raw_path"], _, scope["query_string"] = target.partition(b"?")

    def _check_version_and_coding(self, version: str) -> None:
        if version not in _VERSIONS:
            self._raise_fault(505)
        codings = [value for name, value in self.headers if name == b"transfer-encoding"]
        if len(codings) > 1 or (codings and version == "1.0"):
            self._raise_fault(400)
        if codings and codings[0].lower() != b"chunked":
            self._raise_fault(501)

    def _absolute(self, url: bytes) -> bytes:
        """Return the path and query of an absolute URL; its host replaces the Host header."""
        scheme, _, rest = url.partition(b"://")
        host, slash, path = rest.partition(b"/")
        if scheme.lower() != b"http" or not host:
            self._raise_fault(400)
        self.headers[:] = [*(pair for pair in self.headers if pair[0] != b"host"), (b"host", host)]
        return slash + path or b"/"

    def on_message_complete(self) -> None:
        if self._skipped_upgrade:
            return  # its body is yet to come
        self._in_head = True
        super().on_message_complete()

    # Starting requests.

    @property
    def _last_cycle(self) -> RequestResponseCycle | None:
        """The request that was read last, answered or not; None at first."""
        return cast("RequestResponseCycle | None", self.cycle)

    def _begin(self, *, keep_alive: bool) -> None:
        """Start the request that was just read, or queue it behind the ones before it."""
        before = self._last_cycle
        app = cast("Any", self.app)  # pyright: ignore[reportUnknownMemberType]
        self.cycle = Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete or before.disconnected:
            self._start_asgi_task(self.cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, app))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 -- uvicorn's own signature
        task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        self._running = task

    def _raise_fault(self, status: int) -> None:
        self._fault = status
        raise _FaultError  # the parser turns it into an HttpParserError

    def _refuse(self, status: int) -> None:
        """Answer a malformed request, after the requests before it, and close."""
        self._refused = True
        last = self._last_cycle
        in_body = last is not None and last.more_body and not self._in_head
        if in_body and not self._drop_current():
            return
        headers = cast("list[tuple[bytes, bytes]] | None", self.headers) or []
        scope: Any = {
            "type": "http",
            "method": "GET",
            "http_version": "1.1",
            "client": self.client,
            "server": self.server,
            # The answer names the caller's request id, if it got that far.
            "headers": [pair for pair in headers if pair[0] == REQUEST_ID],
            "raw_path": b"/",
            "query_string": b"",
            FAULT: status,
        }
        self.scope = scope
        self.expect_100_continue = False
        self._begin(keep_alive=False)
        self.cycle.more_body = False

    def _drop_current(self) -> bool:
        """Give up the request whose body is broken; False if its answer has already begun."""
        cycle = self.cycle
        if cycle.response_started:
            self.transport.abort()
            return False
        queued = [entry for entry in self.pipeline if entry[0] is not cycle]
        if len(queued) < len(self.pipeline):
            self.pipeline.clear()
            self.pipeline.extend(queued)
            # What is before it answers first.
            return True
        cycle.disconnected = True
        if self._running is not None:
            self._running.cancel()
        return True
