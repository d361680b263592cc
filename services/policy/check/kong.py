"""Kong: the entities and plugins of Kong 3.9 that kong.yml uses, and what we ask of each.

The fields, types, ranges and defaults are Kong's; `ours` is our policy and `instead` is what Kong
has and we don't. services/local/gateway has its own, smaller table; a test compares them.
"""

from collections.abc import Mapping

from services.core.headers import API_KEY, BACKEND_TOKEN, REQUEST_ID
from services.policy.check import upstream_fields
from services.policy.check.fields import Field, Fields, Ours

_MAX_INT = 2**31 - 1
_MAX_MS = 2**31 - 2
_MAX_PORT = 65535
SLOWEST_COUNT = 500  # ms; every request waits so long while Valkey hangs, and P95 is to be 200 ms

_UUIDS = "a UUID, such as 7c9e6679-7425-40de-944b-e07fc1f90ae7"
_NO_UPSTREAM_TLS = "nothing here sets certificates for services: take it out"
_IN_URL = "write `url: http://NAME`, where NAME is an upstream's"
_A_MINUTE = "the contract tells partners limits by the minute: write `minute`"
_KONG_2 = "this form is of Kong 2: write it under `redis`, without `redis_`"
_NEEDS_COUNTERS = "counters stand in Valkey and are exact only so (`local` let 130 of 100 through)"

_COMMON: Fields = {
    "id": Field(str),
    "tags": Field(list, elements=str),
    "created_at": Field(int, instead="Kong writes it: take it out"),
    "updated_at": Field(int, instead="Kong writes it: take it out"),
}
_TIMEOUT_WHY = "a slow service would hold requests for a minute each"


def _timeout() -> Field:
    return Field(int, 60000, between=(1, _MAX_MS), ours=Ours((), _TIMEOUT_WHY))


ENTITIES: Mapping[str, Fields] = {
    "services": {
        **_COMMON,
        "name": Field(str, required=True),
        "url": Field(str, required=True),
        "enabled": Field(bool, default=True),
        "retries": Field(
            int, 5, between=(0, 32767), ours=Ours((), "each retry waits the timeouts again")
        ),
        "connect_timeout": _timeout(),
        "write_timeout": _timeout(),
        "read_timeout": _timeout(),
        "protocol": Field(str, instead=_IN_URL),
        "host": Field(str, instead=_IN_URL),
        "port": Field(int, instead=_IN_URL),
        "path": Field(str, instead=_IN_URL),
        "client_certificate": Field(str, instead=_NO_UPSTREAM_TLS),
        "ca_certificates": Field(list, instead=_NO_UPSTREAM_TLS),
        "tls_verify": Field(bool),
        "tls_verify_depth": Field(int, between=(0, 64)),
    },
    "upstreams": {**_COMMON, **upstream_fields.UPSTREAM},
    "targets": {**_COMMON, **upstream_fields.TARGET},
    "routes": {
        **_COMMON,
        "name": Field(str, required=True),
        "service": Field(str),
        "hosts": Field(list, elements=str),
        "paths": Field(list, elements=str),
        "methods": Field(list, elements=str),
        "headers": Field(dict),
        "protocols": Field(list, elements=str),
        "strip_path": Field(bool, True, ours=Ours((), "the path would be cut off the request")),
        "path_handling": Field(str, "v0", one_of=("v0", "v1")),
        "preserve_host": Field(bool, default=False),
        "regex_priority": Field(int, 0),
        "request_buffering": Field(bool, default=True),
        "response_buffering": Field(bool, default=True),
        "https_redirect_status_code": Field(int, 426, one_of=(426, 301, 302, 307, 308)),
        "snis": Field(list, instead="routes are told apart by hosts and paths here"),
        "sources": Field(list, instead="only for TCP and TLS routes"),
        "destinations": Field(list, instead="only for TCP and TLS routes"),
        "expression": Field(str, instead="needs another router flavor: write hosts and paths"),
        "priority": Field(int, instead="needs another router flavor: a longer path wins"),
    },
    "consumers": {**_COMMON, "username": Field(str), "custom_id": Field(str)},
    "acls": {**_COMMON, "group": Field(str, required=True), "consumer": Field(str)},
    "keyauth_credentials": {
        **_COMMON,
        "key": Field(str, required=True, secret=True),
        "consumer": Field(str),
    },
    "plugins": {
        **_COMMON,
        "name": Field(str, required=True),
        "instance_name": Field(str),
        "enabled": Field(bool, default=True),
        "protocols": Field(list, elements=str),
        "service": Field(str),
        "route": Field(str),
        "consumer": Field(str),
    },
}
# What may stand under what; "" is the file itself.
CHILDREN: Mapping[str, tuple[str, ...]] = {
    "": ("services", "routes", "consumers", "plugins", "acls", "keyauth_credentials", "upstreams"),
    "upstreams": ("targets",),
    "services": ("routes", "plugins"),
    "routes": ("plugins",),
    "consumers": ("acls", "keyauth_credentials", "plugins"),
}
DOCUMENT = ("_format_version", "_transform", "_ignore", "_comment", *CHILDREN[""])
FORMAT_VERSIONS = ("3.0",)
# What no two entities of a kind may share.
UNIQUE: Mapping[str, tuple[str, ...]] = {
    "services": ("id", "name"),
    "routes": ("id", "name"),
    "consumers": ("id", "username", "custom_id"),
    "keyauth_credentials": ("id", "key"),
    "acls": ("id",),
    "plugins": ("id", "instance_name"),
    "upstreams": ("id", "name"),
    "targets": ("id",),
}
SCOPES = {"services": "service", "routes": "route", "consumers": "consumer"}
# What sentences call an entity that has no plugins.
OTHERS = {
    "acls": "acl group",
    "keyauth_credentials": "key",
    "upstreams": "upstream",
    "targets": "target",
}

_REDIS: Fields = {
    "host": Field(str, required=True),
    "port": Field(int, 6379, between=(0, _MAX_PORT)),
    "timeout": Field(
        int,
        2000,
        ours=Ours(range(1, SLOWEST_COUNT + 1), "every request waits so long while Valkey hangs"),
    ),
    "database": Field(int, 0, between=(0, _MAX_INT)),
    "username": Field(str, referenceable=True),
    "password": Field(str, referenceable=True, secret=True),
    "ssl": Field(bool, default=False),
    "ssl_verify": Field(bool, default=False),
    "server_name": Field(str),
}
_RATE_LIMITING: Fields = {
    "minute": Field(int, required=True, between=(1, _MAX_INT)),
    **{n: Field(int, instead=_A_MINUTE) for n in ("second", "hour", "day", "month", "year")},
    "limit_by": Field(
        str,
        "consumer",
        one_of=("consumer", "credential", "ip", "service", "header", "path", "consumer-group"),
        ours=Ours(("consumer", "ip"), "limits count per partner, and without a key per address"),
    ),
    "policy": Field(
        str, "local", one_of=("local", "cluster", "redis"), ours=Ours(("redis",), _NEEDS_COUNTERS)
    ),
    "sync_rate": Field(int, -1, ours=Ours((-1,), "else nodes count apart and add up later")),
    "fault_tolerant": Field(
        bool, default=True, ours=Ours((True,), "else every request gets 500 while Valkey is away")
    ),
    "hide_client_headers": Field(
        bool, default=False, ours=Ours((False,), "partners are promised RateLimit headers")
    ),
    "error_code": Field(int, 429, ours=Ours((429,), "partners are promised 429")),
    "error_message": Field(str, "API rate limit exceeded"),
    "header_name": Field(str, instead="limits count per partner or address, not by a header"),
    "path": Field(str, instead="limits count per partner or address, not by path"),
    "redis": Field(dict, required=True, fields=_REDIS),
    **{f"redis_{name}": Field(str, instead=_KONG_2) for name in _REDIS},
}
_KEY_AUTH: Fields = {
    "key_names": Field(
        list, ["apikey"], elements=str, ours=Ours(([API_KEY],), "that is the contract's header")
    ),
    "key_in_header": Field(
        bool, default=True, ours=Ours((True,), "keys come in a header and nowhere else")
    ),
    "key_in_query": Field(
        bool, default=True, ours=Ours((False,), "a key in a URL ends in logs and histories")
    ),
    "key_in_body": Field(
        bool, default=False, ours=Ours((False,), "Kong would read every body to look for a key")
    ),
    "hide_credentials": Field(
        bool, default=False, ours=Ours((True,), "the services are never to see a key")
    ),
    "anonymous": Field(
        str, ours=Ours((), "name the consumer that carries the limit for wrong keys")
    ),
    "run_on_preflight": Field(bool, default=True),
    "realm": Field(str),
    "identity_realms": Field(list, instead="Enterprise only: take it out"),
}
PLUGINS: Mapping[str, Fields] = {
    "acl": {
        "allow": Field(list, elements=str, required=True),
        "deny": Field(list, instead="name who may, in `allow`: all others are refused"),
        "hide_groups_header": Field(bool, default=False),
        "always_use_authenticated_groups": Field(bool, default=False),
        "include_consumer_groups": Field(bool, instead="Kong OSS has no consumer groups"),
    },
    "backend-token": {
        "header": Field(
            str, required=True, ours=Ours((BACKEND_TOKEN,), "the services look for it there")
        ),
        "token": Field(str, required=True, referenceable=True, secret=True),
        "hide": Field(list, elements=str),
    },
    "correlation-id": {
        "header_name": Field(
            str, "Kong-Request-ID", ours=Ours((REQUEST_ID,), "that is the contract's header")
        ),
        "generator": Field(
            str,
            "uuid#counter",
            one_of=("uuid", "uuid#counter", "tracker"),
            ours=Ours(("uuid",), "the others tell how many requests a node has had"),
        ),
        "echo_downstream": Field(
            bool, default=False, ours=Ours((True,), "callers quote the id of an answer")
        ),
    },
    "error-envelope": {},
    "key-auth": _KEY_AUTH,
    # From Kong's documentation of 3.9, not measured: its schema and its priority (13).
    "prometheus": {
        "per_consumer": Field(
            bool, default=False, ours=Ours((False,), "10,000 partners would be as many series")
        ),
        "status_code_metrics": Field(bool, default=False),
        "latency_metrics": Field(bool, default=False),
        "bandwidth_metrics": Field(bool, default=False),
        "upstream_health_metrics": Field(bool, default=False),
        "ai_metrics": Field(bool, default=False, instead="there is no AI behind this gateway"),
    },
    "rate-limiting": _RATE_LIMITING,
    "request-size-limiting": {
        "allowed_payload_size": Field(
            int, 128, between=(0, _MAX_INT), ours=Ours((), "that is far above what a request holds")
        ),
        "size_unit": Field(
            str,
            "megabytes",
            one_of=("bytes", "kilobytes", "megabytes"),
            ours=Ours((), "the same number would allow far more"),
        ),
        "require_content_length": Field(
            bool, default=False, ours=Ours((False,), "bodies in chunks would be refused")
        ),
    },
    "request-termination": {
        "status_code": Field(int, 503, between=(100, 599)),
        "message": Field(str),
        "content_type": Field(str, instead="error-envelope shapes the answer: write `message`"),
        "body": Field(str, instead="error-envelope shapes the answer: write `message`"),
        "echo": Field(bool, default=False),
        "trigger": Field(str),
    },
}
# Kong's order: the higher runs first.
PRIORITIES: Mapping[str, int] = {
    "correlation-id": 100001,
    "error-envelope": 3000,
    "key-auth": 1250,
    "request-size-limiting": 951,
    "acl": 950,
    "rate-limiting": 910,
    "backend-token": 900,
    "prometheus": 13,
    "request-termination": 2,
}
# Where Kong lets these stand; all others may stand anywhere.
NO_CONSUMER = frozenset(("acl", "key-auth", "error-envelope"))
GLOBAL_ONLY = frozenset(("error-envelope", "prometheus"))

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
PROTOCOLS = ("http", "https")
UUID_FORM = _UUIDS
