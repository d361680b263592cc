"""Exchange: one request on its way through the plugins, with their decisions."""

from dataclasses import dataclass, field

from services.local.gateway.body import RequestBody
from services.local.gateway.model import Callers, Consumer, Credential, Route
from services.local.gateway.responses import HeaderList
from services.policy.hosts import split_host


@dataclass(slots=True, eq=False)
class Exchange:
    """One request. Header names are lower case; nothing here outlives the request."""

    callers: Callers
    method: str
    raw_path: bytes
    query: bytes
    headers: HeaderList
    client_host: str
    server_port: int
    kong_request_id: str
    # The last value of each name: enough where a second one makes no difference.
    single: dict[bytes, bytes] = field(init=False)
    host: bytes = field(init=False)
    body: RequestBody = field(init=False)  # set right after
    path: bytes = b""  # normalised, set by the router
    route: Route | None = None
    consumer: Consumer | None = None
    credential: Credential | None = None
    forwarded: dict[bytes, bytes] = field(init=False)  # headers set for the service
    removed: set[bytes] = field(init=False)  # headers kept from the service
    limit_headers: tuple[tuple[bytes, bytes], ...] = ()

    def __post_init__(self) -> None:
        self.single = dict(self.headers)
        self.forwarded, self.removed = {}, set()
        self.host, _ = split_host(self.single.get(b"host", b""))

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
