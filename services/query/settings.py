"""Settings: what a query process is told by its environment."""

from typing import Annotated

import msgspec

from services.core.environments import Environment
from services.core.logs import LogFormat
from services.core.settings import BackendTokens, Port, PostgresUrl
from services.query.cache_url import CACHE_URL_PATTERN

Positive = Annotated[float, msgspec.Meta(gt=0, le=3600)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
# One Valkey, or a Cluster by some of its nodes; cache_url.py says it in full.
CacheUrl = Annotated[str, msgspec.Meta(pattern=CACHE_URL_PATTERN)]
CacheAge = Annotated[float, msgspec.Meta(gt=0, le=25)]


class QuerySettings(msgspec.Struct, kw_only=True):
    """Both programs; each field is a variable of its name in capitals."""

    environment: Environment  # whose stock it is; a process serves one
    # PostgreSQL as the role <environment>_query, on the primary: a replica would be behind. Secret.
    database_url: PostgresUrl
    # Valkey, one server or a Cluster (query/cache_url.py); may be lost or emptied at any time.
    # Secret if it has a password.
    cache_url: CacheUrl
    # The address to listen on; 0.0.0.0 in a container, whose network says who may call.
    host: str = "127.0.0.1"
    port: Port  # to listen on; 0: one that the system chooses
    log_format: LogFormat = LogFormat.JSON  # of a line: for machines, or for people
    # How old an item of memory or Valkey may get; less costs more reads of PostgreSQL. Readers may
    # be 30 s behind (Q7); 5 s of that are for reads under way and clocks that differ.
    cache_max_age_seconds: CacheAge = 25
    stock_poll_seconds: Positive = 1  # between looks at changes whose notification got lost
    # How many products this process keeps itself, above Valkey; 0: none. The half of them that was
    # used last is here for certain: 25,000; 5,000 are listed today.
    memory_entries: NotNegative = 50_000
    # What those may take, at about 500 bytes each, whichever is reached first; 0: nothing is kept.
    memory_bytes: NotNegative = 32 * 1024 * 1024
    # Connections to PostgreSQL at most, for which reads wait; one more follows the changes, one
    # more answers health checks.
    database_pool_size: Annotated[int, msgspec.Meta(ge=1, le=100)] = 8


class PartnerSettings(QuerySettings, kw_only=True):
    """The partners' program."""

    # What the gateway sends in X-Backend-Token (A7), the nodes' BACKEND_TOKEN: 32 characters or
    # more, random. Several, comma separated, are all accepted, so that it can be rotated. Secret.
    backend_token: BackendTokens
