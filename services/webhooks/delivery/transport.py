"""Transport: httpx's requests over httpcore's connections, with our network below.

httpx.HTTPTransport takes no network backend, so this stands in for it. A sender has one call at a
time, so that it needs no pool: one connection for each origin, the least recently used go first.
"""

import ssl
from collections import OrderedDict
from collections.abc import Iterator

import httpcore
import httpx

# nginx closes idle connections after 75 s, Tomcat after 20 s, Node.js after 5 s; those that were
# closed by the receiver are noticed before they are used.
KEEP_SECONDS = 20.0
KEEP_CONNECTIONS = 16  # idle, for each sender: 48 threads keep 768 sockets open at most
# Nothing else of an answer is looked at: no cookie is kept, no content coding undone.
WANTED_HEADERS = (b"retry-after",)


class Transport(httpx.BaseTransport):
    """Sends requests, one at a time; connections are kept alive."""

    def __init__(
        self, network: httpcore.NetworkBackend, *, keep_connections: int = KEEP_CONNECTIONS
    ) -> None:
        """Take the network."""
        self._network = network
        self._keep_connections = keep_connections
        self._connections: OrderedDict[tuple[bytes, bytes, int], httpcore.HTTPConnection] = (
            OrderedDict()
        )
        # httpcore writes to the context that it is given at each connect, which is not safe for
        # one that threads share; the network has the real one. This one trusts nobody.
        self._unused_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer once its headers are there."""
        url = request.url
        outgoing = httpcore.Request(
            request.method,
            httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=request.stream,
        )
        connection = self._connection(outgoing.url.origin)
        answer = connection.handle_request(outgoing)
        wanted = [(name, value) for name, value in answer.headers if name.lower() in WANTED_HEADERS]
        return httpx.Response(answer.status, headers=wanted, stream=_Body(answer, connection))

    def close(self) -> None:
        """Close every connection."""
        while self._connections:
            self._connections.popitem()[1].close()

    def _connection(self, origin: httpcore.Origin) -> httpcore.HTTPConnection:
        key = origin.scheme, origin.host, origin.port
        connection = self._connections.pop(key, None)
        if connection is not None and not _usable(connection):
            connection.close()
            connection = None
        if connection is None:
            self._make_room()
            connection = httpcore.HTTPConnection(
                origin,
                ssl_context=self._unused_tls,
                keepalive_expiry=KEEP_SECONDS,
                network_backend=self._network,
            )
        self._connections[key] = connection
        return connection

    def _make_room(self) -> None:
        while self._connections:
            oldest = next(iter(self._connections))
            if len(self._connections) < self._keep_connections and _usable(
                self._connections[oldest]
            ):
                return
            self._connections.pop(oldest).close()


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response, connection: httpcore.HTTPConnection) -> None:
        self._answer = answer
        self._connection = connection

    def __iter__(self) -> Iterator[bytes]:
        return self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()
        if _has_bytes_left(self._connection):
            self._connection.close()


def _usable(connection: httpcore.HTTPConnection) -> bool:
    return connection.is_available() and not connection.has_expired()


def _has_bytes_left(connection: httpcore.HTTPConnection) -> bool:
    """Say whether bytes were read behind the end of an answer: a 204 with a body, say.

    The next answer would begin with them. httpcore keeps them for its next request and shows them
    to nobody, so that h11's own state is asked; test_sender.py notices when that moves.
    """
    inner = connection._connection  # pyright: ignore[reportPrivateUsage]
    if not isinstance(inner, httpcore.HTTP11Connection):
        return False
    left, _closed = inner._h11_state.trailing_data  # pyright: ignore[reportPrivateUsage]
    return bool(left)
