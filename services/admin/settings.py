"""Settings: what admin's service and its command line are told by their environment."""

from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from services.admin.gateway.render import Addresses, CounterStore
from services.kernel.logs import LogFormat
from services.kernel.settings import Port, PostgresUrl

NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]


class AdminSettings(msgspec.Struct, kw_only=True):
    """What both faces are told; each field is a variable of its name in capitals."""

    admin_database_url: PostgresUrl  # of the role admin
    master_keys: NonEmpty
    kong_admin_urls: str = ""  # comma separated
    gateway_policy: NonEmpty = "gateway/kong.yml"
    gateway_upstreams: str = ""  # `query-live=http://127.0.0.1:8101,...`: where kong.yml differs
    gateway_counters_url: str = ""  # `valkey://127.0.0.1:8063/0`: likewise

    @property
    def nodes(self) -> list[str]:
        """The Admin API addresses of the Kong nodes."""
        return [url.strip() for url in self.kong_admin_urls.split(",") if url.strip()]

    @property
    def addresses(self) -> Addresses:
        """What the renderer puts in the place of kong.yml's own addresses."""
        pairs = [pair.partition("=") for pair in self.gateway_upstreams.split(",") if pair.strip()]
        upstreams = {name.strip(): url.strip() for name, _, url in pairs}
        return Addresses(upstreams, _counter_store(self.gateway_counters_url))


class ServiceSettings(AdminSettings, kw_only=True):
    """What the service is told besides."""

    host: str = "127.0.0.1"
    port: Port
    log_format: LogFormat = LogFormat.JSON


def _counter_store(url: str) -> CounterStore | None:
    if not url:
        return None
    parts = urlsplit(url)
    database = int(parts.path.strip("/") or 0)
    return CounterStore(parts.hostname or "", parts.port or 6379, database)
