"""Cache URL: where the cache is: one Valkey, or a Cluster known by some of its nodes.

valkey://user:password@host:6379/0          one server; valkeys:// is the same over TLS
valkey://a:7001,b:7002,c:7003?cluster=true  a Cluster; one node is enough to find the others
valkeys://host:6379?ssl_ca_certs=/ca.pem    whom to trust, unless it is a public authority
"""

import ssl
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

DEFAULT_PORT = 6379

# What every such URL looks like: several hosts only with `cluster=true`, which has no database.
_HOST = r"([^@/?#,:\s\[\]]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?"
_SCHEME = r"(valkey|redis)s?://([^@/\s]*@)?"
_TRUST = r"ssl_ca_certs=[^&\s]+"
CACHE_URL_PATTERN = (
    rf"^{_SCHEME}({_HOST}(/\d*)?(\?{_TRUST})?"
    rf"|{_HOST}(,{_HOST})*(/0?)?\?({_TRUST}&)?cluster=true(&{_TRUST})?)$"
)


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"{self.host}:{self.port}"


class Login(NamedTuple):
    """How to get in; the same for every node of a Cluster."""

    username: str = ""
    password: str = ""
    database: int = 0
    tls: ssl.SSLContext | None = None


class CacheAddress(NamedTuple):
    """What a CACHE_URL says."""

    seeds: list[Address]
    is_cluster: bool
    login: Login


def parse_cache_url(url: str) -> CacheAddress:
    """Return what a URL says. Raises ValueError, whose message holds no password."""
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = (unquote(each) for each in credentials.partition(":"))
    options = dict(parse_qsl(parts.query))
    is_cluster = options.pop("cluster", "false") == "true"
    authority = options.pop("ssl_ca_certs", None)
    tls = ssl.create_default_context(cafile=authority) if parts.scheme.endswith("s") else None
    seeds = [_address(host) for host in hosts.split(",")]
    database = int(parts.path.strip("/") or 0)
    if options:
        msg = f"CACHE_URL: unknown option {min(options)}"
        raise ValueError(msg)
    if is_cluster and database:
        msg = "CACHE_URL: a Cluster has database 0 only"
        raise ValueError(msg)
    if len(seeds) > 1 and not is_cluster:
        msg = "CACHE_URL: several hosts are a Cluster's; add ?cluster=true"
        raise ValueError(msg)
    return CacheAddress(seeds, is_cluster, Login(username, password, database, tls))


def _address(host: str) -> Address:
    parts = urlsplit(f"//{host}")
    if not parts.hostname:
        msg = "CACHE_URL: a host is missing"
        raise ValueError(msg)
    return Address(parts.hostname, parts.port or DEFAULT_PORT)
