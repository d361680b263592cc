"""Model: one accepted configuration; it never changes, a new one takes its place as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.local.gateway.plugins.plan import Plans
    from services.local.gateway.router import Router

NO_CONFIGURATION_HASH = "0" * 32  # what Kong's status says while there is no configuration


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
    """Which requests go to a service."""

    id: str
    service: Service
    hosts: frozenset[bytes]
    paths: tuple[str, ...]
    methods: frozenset[str]
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
    # What a service is told about this consumer.
    headers: Mapping[bytes, bytes] = field(default_factory=dict[bytes, bytes])


@dataclass(frozen=True, slots=True, eq=False)
class Credential:
    """A key of a consumer."""

    id: str
    consumer: Consumer


@dataclass(frozen=True, slots=True, eq=False)
class Configuration:
    """What one declarative file says."""

    hash: str  # the MD5 of its text, as Kong computes it
    router: "Router"
    plans: "Plans"
    consumers: Mapping[str, Consumer]  # by id and by username
    credentials: Mapping[bytes, Credential]  # by key
    upstreams: tuple[Upstream, ...] = ()
