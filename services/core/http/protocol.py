"""Protocol: uvicorn's HTTP/1.1 connection, which reads on after an `Upgrade` and after nonsense.

httptools' parser takes what follows a request with `Upgrade` for the other protocol. uvicorn, which
speaks none, then loses the body, or reads it as requests of their own. The JDK's HttpClient asks
for h2c by default. And uvicorn answers malformed bytes with 400 at once, though the request before
them may have been carried out, so that its caller takes the 400 for its own.
"""

from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from services.core.http.bodies import MALFORMED_BODY


class UpgradeIgnoringProtocol(HttpToolsProtocol):
    """A connection whose parser goes on with HTTP/1.1 whatever a request asks for."""

    _skipped_upgrade = False  # the body of the request is yet to come

    def feed(self, data: bytes) -> None:
        """Parse what came. Raises httptools.HttpParserError."""
        while data:  # one turn more for each request with `Upgrade`
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as exc:
                self._ignore_upgrade()
                data = data[exc.args[0] :]
            else:
                return

    def _ignore_upgrade(self) -> None:
        """Go on with a new parser, which gets the framing of the body and nothing else."""
        resumed = _Resumed(self)
        self.parser = httptools.HttpRequestParser(resumed)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._skipped_upgrade = False
        framing = [
            b"%b: %b\r\n" % pair
            for pair in self.headers
            if pair[0] in (b"content-length", b"transfer-encoding")
        ]
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(framing))
        resumed.in_framing = False

    def on_headers_complete(self) -> None:
        self._skipped_upgrade = self.parser.should_upgrade()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._skipped_upgrade:
            super().on_message_complete()


class _Resumed:
    """The callbacks of a parser that goes on in a body; those of the framing's head are dropped.

    Apart from the protocol, so that a connection without an upgrade pays nothing: there would be
    one more call for each of the 19 headers that Kong sends.
    """

    def __init__(self, protocol: UpgradeIgnoringProtocol) -> None:
        self._protocol = protocol
        self.in_framing = True
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        if not self.in_framing:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self.in_framing:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.in_framing:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self.in_framing:
            self._protocol.on_headers_complete()


class ServiceProtocol(UpgradeIgnoringProtocol):
    """A connection of a service: 400 is only for bytes that belong to no request."""

    _refused = False  # nothing more is read
    _in_body = False

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        try:
            self.feed(data)
        except httptools.HttpParserError:
            self._refuse()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._in_body = True

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_body = self._skipped_upgrade

    def _refuse(self) -> None:
        """Answer 400, unless a request is under way: its own answer comes, and then the end.

        A handler that reads the body learns from it that it is malformed; one that does not has
        carried out its request all the same.
        """
        self._refused = True
        self.logger.warning("Invalid HTTP request received.")
        last = cast("RequestResponseCycle | None", self.cycle)
        if last is not None and not last.response_complete:
            last.keep_alive = False
            if last.more_body:
                cast("dict[str, Any]", last.scope)[MALFORMED_BODY] = True
                last.more_body = False
                last.message_event.set()
        elif self._in_body:  # of a request that was answered before its end
            self.transport.close()
        else:
            self.send_400_response("Invalid HTTP request received.")
