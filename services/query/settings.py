"""Settings: what a query process is told by its environment."""

from typing import Annotated

import msgspec

from services.kernel.environments import Environment
from services.kernel.logs import LogFormat
from services.kernel.settings import BackendToken, Port, PostgresUrl
from services.query.cache_url import CACHE_URL_PATTERN

Positive = Annotated[float, msgspec.Meta(gt=0, le=3600)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
# One Valkey, or a Cluster by some of its nodes; cache_url.py says it in full.
CacheUrl = Annotated[str, msgspec.Meta(pattern=CACHE_URL_PATTERN)]
CacheAge = Annotated[float, msgspec.Meta(gt=0, le=25)]


class QuerySettings(msgspec.Struct, kw_only=True):
    """Both programs; each field is a variable of its name in capitals."""

    environment: Environment
    database_url: PostgresUrl  # of the role <environment>_query, on the primary
    cache_url: CacheUrl
    host: str = "127.0.0.1"
    port: Port
    log_format: LogFormat = LogFormat.JSON
    # Readers may be 30 s behind (Q7); 5 s of that are for reads under way and clocks that differ.
    cache_max_age_seconds: CacheAge = 25
    stock_poll_seconds: Positive = 1
    # What this process keeps itself, above Valkey; 0 of either: nothing. At about 500 bytes each,
    # the 25,000 products used last are here for certain; 5,000 are listed today.
    memory_entries: NotNegative = 50_000
    memory_bytes: NotNegative = 32 * 1024 * 1024
    database_pool_size: Annotated[int, msgspec.Meta(ge=1, le=100)] = 8


class PartnerSettings(QuerySettings, kw_only=True):
    """The partners' program."""

    backend_token: BackendToken  # what the gateway sends in X-Backend-Token (A7)
