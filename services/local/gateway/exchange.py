"""Exchange: one request on its way through the plugins, and what they decided about it."""

from services.local.gateway.body import RequestBody
from services.local.gateway.model import Callers, Consumer, Credential, Route
from services.local.gateway.responses import HeaderList
from services.policy.hosts import split_host


class Exchange:
    """One request. Header names are lower case; nothing here outlives the request."""

    __slots__ = (
        "body",
        "callers",
        "client_host",
        "consumer",
        "credential",
        "forwarded",
        "headers",
        "host",
        "kong_request_id",
        "limit_headers",
        "method",
        "path",
        "query",
        "raw_path",
        "removed",
        "route",
        "server_port",
        "single",
    )

    def __init__(
        self,
        callers: Callers,
        *,
        method: str,
        raw_path: bytes,
        query: bytes,
        headers: HeaderList,
        client_host: str,
        server_port: int,
        kong_request_id: str,
    ) -> None:
        self.callers = callers
        self.method = method
        self.raw_path = raw_path
        self.query = query
        self.headers = headers
        # The last value of each name: enough where a second one makes no difference.
        self.single = dict(headers)
        self.host, _ = split_host(self.single.get(b"host", b""))
        self.body: RequestBody  # set right after
        self.client_host = client_host
        self.server_port = server_port
        self.kong_request_id = kong_request_id
        self.path = b""  # normalised, set by the router
        self.route: Route | None = None
        self.consumer: Consumer | None = None
        self.credential: Credential | None = None
        self.forwarded: dict[bytes, bytes] = {}  # headers set for the service
        self.removed: set[bytes] = set()  # headers kept from the service
        self.limit_headers: tuple[tuple[bytes, bytes], ...] = ()

    def header(self, name: bytes) -> bytes | None:
        """Return a request header as plugins before this one left it."""
        if name in self.forwarded:
            return self.forwarded[name]
        return None if name in self.removed else self.single.get(name)

    def values(self, name: bytes) -> list[bytes]:
        """Return every value that the client sent under a name."""
        if name not in self.single:
            return []
        return [value for key, value in self.headers if key == name]

    def set_header(self, name: bytes, value: bytes) -> None:
        """Set a header for the service, in place of what the client sent."""
        self.forwarded[name] = value

    def remove_header(self, name: bytes) -> None:
        """Keep a header from the service."""
        self.removed.add(name)
        self.forwarded.pop(name, None)
