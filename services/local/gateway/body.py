"""Body: a request's body; small ones are read before the service is asked, large ones streamed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[Any]]

# Kong holds a whole body before it asks the service; this holds up to 1 MiB, so that a slow client
# costs the service nothing and a retry has something to send.
HOLD_LIMIT = 1024 * 1024


class ClientGoneError(Exception):
    """The client closed its connection before its request was complete."""


class RequestBody:
    """The body of one request."""

    def __init__(self, receive: Receive, declared: int | None, *, chunked: bool) -> None:
        """Take the Content-Length as `declared`; `chunked` bodies have none."""
        self._receive = receive
        self.declared = declared
        self.chunked = chunked
        self._held: list[bytes] = []
        self._size = 0
        self._complete = not chunked and not declared

    @property
    def is_held(self) -> bool:
        """Whether the whole body has been read."""
        return self._complete

    @property
    def held(self) -> bytes:
        """The part that has been read."""
        return self._held[0] if len(self._held) == 1 else b"".join(self._held)

    async def hold(self, limit: int = HOLD_LIMIT) -> bool:
        """Read on until all is held (True) or more than `limit` bytes are (False)."""
        while not self._complete and self._size <= limit:
            piece = await self._next()
            if piece:
                self._held.append(piece)
                self._size += len(piece)
        return self._size <= limit

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the held pieces, then the rest as it comes; can be done once."""
        held, self._held = self._held, []
        for piece in held:
            yield piece
        while not self._complete:
            if piece := await self._next():
                yield piece

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        self._complete = not message["more_body"]
        return message["body"]
