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
        """The target as the file has it."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Checks:
    """The health checks of an upstream; times are in seconds, 0 failures: never unhealthy."""

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
    """The processes that share the requests of a service; compared by value."""

    name: str
    targets: tuple[Target, ...]
    checks: Checks


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """A service that requests go to; timeouts are in seconds."""

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
    """A partner in one environment, or the one without a good key."""

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
