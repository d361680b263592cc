"""Model: the entities of a configuration: upstreams, services, routes, consumers and their keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Target:
    """A host and port of an upstream; a host with several addresses is several processes."""

    host: str
    port: int
    weight: int

    @property
    def name(self) -> str:
        """It as the file has it."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Checks:
    """How a process that is gone is noticed; times are in seconds, 0 failures: it never is."""

    path: str
    interval: float  # 0: none is asked
    timeout: float
    successes: int
    http_failures: int
    tcp_failures: int
    timeouts: int
    request_tcp_failures: int  # of the requests of callers
    request_timeouts: int


@dataclass(frozen=True, slots=True)
class Upstream:
    """The processes that a service's requests are shared out to. Equal: nothing has changed."""

    name: str
    targets: tuple[Target, ...]
    checks: Checks


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """Where requests go; timeouts are in seconds."""

    id: str
    origin: str  # http://host:port
    path: bytes  # put before the request's path, without a slash at its end
    retries: int
    connect_timeout: float
    write_timeout: float
    read_timeout: float
    name: str = ""
    upstream: Upstream | None = None  # None: origin is asked


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A way to a service; the router knows which requests take it."""

    id: str
    service: Service
    strip_path: bool
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Consumer:
    """Who asks."""

    id: str
    username: str | None
    custom_id: str | None
    groups: frozenset[str]
    tags: frozenset[str] = frozenset()
    # The headers by which a service knows this consumer.
    headers: Mapping[bytes, bytes] = field(default_factory=dict[bytes, bytes])


@dataclass(frozen=True, slots=True, eq=False)
class Credential:
    """A key of a consumer."""

    id: str
    consumer: Consumer


@dataclass(frozen=True, slots=True, eq=False)
class Callers:
    """The consumers of a configuration and their keys."""

    consumers: Mapping[str, Consumer]  # by id and by username
    credentials: Mapping[bytes, Credential]  # by key
