"""Settings: the environment of admin's service, and of commands inside its container."""

from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from services.core.logs import LogFormat
from services.core.settings import Port, PostgresUrl
from services.policy.render import Addresses, CounterStore

NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]
UPSTREAMS_PATTERN = r"^( *[\w.~-]+=([\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5} *(,|$))*$"
UpstreamTargets = Annotated[str, msgspec.Meta(pattern=UPSTREAMS_PATTERN)]
_MAX_PORT = 65535


class AdminSettings(msgspec.Struct, kw_only=True):
    """What both read; each field is a variable of its name in capitals."""

    admin_database_url: PostgresUrl  # PostgreSQL as the role admin, on the primary. Secret.
    # Fernet keys, comma separated: the first encrypts API keys and secrets of endpoints, all
    # decrypt; `partnerapi secrets new-master-key` makes one. Secret.
    master_keys: NonEmpty
    # The Admin API of each node, comma separated, such as http://kong-1:8001; empty: nothing is
    # published.
    kong_admin_urls: str = ""
    # The policy that nodes get: a path, from the working directory; read again when it changes.
    gateway_policy: NonEmpty = "gateway/kong.yml"
    # Targets of upstreams that differ from the policy's, comma separated; a name that is repeated
    # has several targets: `query=10.0.0.1:8101,query=10.0.0.2:8101`; empty: the policy's own.
    gateway_upstreams: UpstreamTargets = ""
    # Where nodes count requests, if not where the policy says, without a password:
    # `valkey://127.0.0.1:8063/0`.
    gateway_counters_url: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a target that is given twice or has no possible port."""
        given: set[str] = set()
        for pair in _upstream_targets(self.gateway_upstreams):
            if not 0 < int(pair.rpartition(":")[2]) <= _MAX_PORT:
                msg = f"GATEWAY_UPSTREAMS: the port of {pair} must be from 1 to {_MAX_PORT:,}"
                raise ValueError(msg)
            if pair.lower() in given:
                msg = f"GATEWAY_UPSTREAMS: {pair} is there twice; keep one"
                raise ValueError(msg)
            given.add(pair.lower())

    @property
    def nodes(self) -> list[str]:
        """The Admin API addresses of the Kong nodes."""
        return [url.strip() for url in self.kong_admin_urls.split(",") if url.strip()]

    @property
    def addresses(self) -> Addresses:
        """What the renderer puts in the place of kong.yml's own addresses."""
        upstreams: dict[str, list[str]] = {}
        for pair in _upstream_targets(self.gateway_upstreams):
            name, _, target = pair.partition("=")
            upstreams.setdefault(name, []).append(target)
        return Addresses(upstreams, _counter_store(self.gateway_counters_url))


class ServiceSettings(AdminSettings, kw_only=True):
    """What the service is told besides."""

    # The address to listen on; 0.0.0.0 in a container, whose network says who may call.
    host: str = "127.0.0.1"
    port: Port  # to listen on; 0: one that the system chooses
    log_format: LogFormat = LogFormat.JSON  # of a line: for machines, or for people


def _upstream_targets(setting: str) -> list[str]:
    """Return each `NAME=HOST:PORT` of GATEWAY_UPSTREAMS."""
    return [pair for each in setting.split(",") if (pair := each.strip())]


def _counter_store(url: str) -> CounterStore | None:
    if not url:
        return None
    parts = urlsplit(url)
    database = int(parts.path.strip("/") or 0)
    return CounterStore(parts.hostname or "", parts.port or 6379, database)
