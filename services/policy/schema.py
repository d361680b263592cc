"""Schema: the entities, plugins and fields of Kong 3.9, and what we ask of each: one table.

Kong's own are the types, ranges and defaults. `ours` is our policy, `instead` is what stands in the
place of a field that is not for use here, and `embedded` is what the embedded gateway runs of it.
Reading, the check, `explain` and the embedded gateway all read this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.core.headers import API_KEY, BACKEND_TOKEN, REQUEST_ID
from services.policy import forms
from services.policy.fields import NOT_EMBEDDED, Field, Fields, Ours

_MAX_INT = 2**31 - 1
_MAX_MS = 2**31 - 2
_MAX_PORT = 65535
SLOWEST_COUNT = 500  # ms; every request waits so long while Valkey hangs, and P95 is to be 200 ms
# services/core/http/health.py has the path and services/core/http/serving.py the seconds; a test
# compares them. Importing them here would load a web framework for `gateway check`.
ACCEPTING_PATH = "/health/accepting"
LAME_DUCK = 4  # seconds

FORMAT_VERSION = "3.0"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
PROTOCOLS = ("http", "https")
_ANY_PROTOCOL = ("grpc", "grpcs", "http", "https")

_ENTERPRISE = "Enterprise only: take it out"
_NOT_HERE = "nothing here uses it: take it out"
_NO_GROUPS = (
    "Kong OSS has no consumer groups: a tier is a rate-limiting plugin under `_ignore`, which the"
    " renderer copies to each partner"
)
_NO_TLS_HERE = "the load balancer in front ends TLS: take it out"
_NO_PARTIALS = "Enterprise only: an anchor under `_ignore` does the same, as `counters` does"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of entity: its name in sentences, its fields, and the kinds that stand under it."""

    called: str
    fields: Fields
    children: tuple[str, ...] = ()
    named_by: tuple[str, ...] = ()
    unique: tuple[str, ...] = ()  # besides the id: what no two may share
    some_of: tuple[str, ...] = ()  # at least one of these must be written
    without: str = ""  # what an entity with none of them does, and what to write


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin: when it runs, the fields of its config, and a sentence for `explain`."""

    priority: int  # Kong's; the higher runs first
    does: str  # with the settings that matter in braces
    fields: Fields = field(default_factory=Fields)
    scopes: tuple[str, ...] = ("service", "route", "consumer")  # what an instance may be limited to


def _instead(words: str, *names: str) -> Fields:
    return Fields({name: Field(str, instead=words) for name in names})


_COMMON = Fields(
    _instead("Kong writes it: take it out", "created_at", "updated_at"),
    id=Field(str, form=forms.uuid_form),
    tags=Field(list, elements=str),
)

_OTHER_CREDENTIALS = _instead(
    "partners send an API key: take it out",
    *("basicauth_credentials", "hmacauth_credentials", "jwt_secrets", "oauth2_credentials"),
)
_NO_UPSTREAM_TLS = "nothing here sets certificates for services: take it out"


def _timeout() -> Field:
    why = "a slow service would hold requests for a minute each"
    return Field(int, 60000, between=(1, _MAX_MS), ours=Ours((), why))


_SERVICE = Fields(
    _COMMON,
    _instead(
        "write `url: http://NAME`, where NAME is an upstream's",
        *("protocol", "host", "port", "path"),
    ),
    _instead(_NO_UPSTREAM_TLS, "client_certificate", "ca_certificates"),
    _instead(_ENTERPRISE, "ws_id"),
    name=Field(str, required=True, form=forms.name_form),
    url=Field(str, required=True, form=forms.url_form),
    enabled=Field(bool, default=True, embedded=(True,)),
    retries=Field(int, 5, between=(0, 32767), ours=Ours((), "each retry waits the timeouts again")),
    connect_timeout=_timeout(),
    write_timeout=_timeout(),
    read_timeout=_timeout(),
    tls_verify=Field(bool, embedded=NOT_EMBEDDED),
    tls_verify_depth=Field(int, between=(0, 64), embedded=NOT_EMBEDDED),
)

_ROUTE = Fields(
    _COMMON,
    _instead("routes differ by hosts and paths here: take it out", "snis"),
    _instead("only for TCP and TLS routes", "sources", "destinations"),
    _instead("needs another router flavor: write hosts and paths", "expression"),
    _instead("needs another router flavor: a longer path wins", "priority"),
    _instead(_ENTERPRISE, "ws_id"),
    name=Field(str, required=True, form=forms.name_form),
    service=Field(str, embedded=NOT_EMBEDDED),
    hosts=Field(list, elements=str, form=forms.host_form),
    paths=Field(list, elements=str, form=forms.path_form),
    methods=Field(list, elements=str, one_of=METHODS),
    headers=Field(dict, embedded=NOT_EMBEDDED),
    protocols=Field(list, [*PROTOCOLS], elements=str, one_of=PROTOCOLS, embedded=([*PROTOCOLS],)),
    strip_path=Field(bool, default=True, ours=Ours((), "the path would be cut off the request")),
    path_handling=Field(str, "v0", one_of=("v0", "v1"), embedded=("v0",)),
    preserve_host=Field(bool, default=False, embedded=(False,)),
    regex_priority=Field(int, 0, embedded=(0,)),
    request_buffering=Field(bool, default=True, embedded=(True,)),
    response_buffering=Field(bool, default=True, embedded=(True,)),
    https_redirect_status_code=Field(int, 426, one_of=(426, 301, 302, 307, 308), embedded=(426,)),
)

_CONSUMER = Fields(
    _COMMON,
    _instead(_NO_GROUPS, "consumer_groups"),
    _instead(_ENTERPRISE, "type"),
    _OTHER_CREDENTIALS,
    username=Field(str),
    custom_id=Field(str),
    groups=Field(list, instead=f"{_NO_GROUPS}; for acl write `acls: [group: live]`"),
)

_KEY = Fields(
    _COMMON,
    _instead(
        "without a database such a key is refused from its first request on: set its end with"
        " `partnerapi keys`; expiry is a publish without the key",
        "ttl",
    ),
    key=Field(str, required=True),
    consumer=Field(str, embedded=NOT_EMBEDDED),
)

_PLUGIN = Fields(
    _COMMON,
    _instead(_NO_GROUPS, "consumer_group"),
    _instead("Enterprise only: Kong runs plugins by their own priorities", "ordering"),
    _instead(_NO_PARTIALS, "partials"),
    _instead("of Kong 1: take it out", "run_on"),
    _instead("of Kong 0: write `service` or `route`", "api_id"),
    name=Field(str, required=True),
    instance_name=Field(str),
    enabled=Field(bool, default=True),
    protocols=Field(
        list, [*_ANY_PROTOCOL], elements=str, one_of=_ANY_PROTOCOL, embedded=([*_ANY_PROTOCOL],)
    ),
    service=Field(str),
    route=Field(str),
    consumer=Field(str),
)

_NOTICED = f"0 is no check, and a process that leaves serves for less than {LAME_DUCK} s"
_BACK = "a process that was replaced must be back before the next one is taken out"
_WAITS = "0 is no check, and a process that is back waits so long for requests"
_GOES_ROUND = "requests go round, as each process answers every request alike: take it out"
_NO_TLS = "services speak plain HTTP: take it out"
_MUST_CHECK = Ours((), "a process that is gone would go on getting requests")
_MAX_COUNT, _MAX_SECONDS = 255, 65535
_CHECK_TYPES = ("tcp", "http", "https", "grpc", "grpcs")


def _count(ours: Ours | None = None, embedded: tuple[int, ...] | None = None) -> Field:
    return Field(int, 0, between=(0, _MAX_COUNT), ours=ours, embedded=embedded)


def _seconds(ours: Ours) -> Field:
    return Field(float, 0, between=(0, _MAX_SECONDS), ours=ours)


def _statuses(*statuses: int) -> Field:
    return Field(list, [*statuses], elements=int, embedded=([*statuses],))


_ACTIVE = Fields(
    _instead(_NO_TLS, "https_sni"),
    type=Field(
        str,
        "http",
        one_of=_CHECK_TYPES,
        ours=Ours(("http",), f"a process that leaves says so at {ACCEPTING_PATH} and nowhere else"),
        embedded=("http",),
    ),
    http_path=Field(
        str,
        "/",
        ours=Ours(
            (ACCEPTING_PATH,),
            "/health/ready is 503 for every process while PostgreSQL is away, and their caches"
            " still answer",
        ),
    ),
    timeout=Field(
        float,
        1,
        between=(0, _MAX_SECONDS),
        ours=Ours(range(1, LAME_DUCK), "a process that hangs gets requests so long"),
    ),
    concurrency=Field(int, 10, between=(1, 2**31), embedded=(10,)),
    headers=Field(dict, embedded=NOT_EMBEDDED),
    https_verify_certificate=Field(bool, default=True, embedded=(True,)),
    healthy=Field(
        dict,
        ours=_MUST_CHECK,
        fields=Fields(
            interval=_seconds(Ours((1,), _NOTICED)),
            successes=_count(Ours((1,), _WAITS)),
            http_statuses=_statuses(200, 302),
        ),
    ),
    unhealthy=Field(
        dict,
        ours=_MUST_CHECK,
        fields=Fields(
            interval=_seconds(Ours((0.5,), _BACK)),
            http_failures=_count(Ours((3,), f"{_BACK}, and {_NOTICED}")),
            tcp_failures=_count(Ours(range(1, LAME_DUCK), _NOTICED)),
            timeouts=_count(Ours(range(1, LAME_DUCK), _NOTICED)),
            http_statuses=_statuses(429, 404, 500, 501, 502, 503, 504, 505),
        ),
    ),
)
_PASSIVE = Fields(
    type=Field(str, "http", one_of=_CHECK_TYPES, embedded=("http",)),
    healthy=Field(
        dict,
        fields=Fields(
            successes=_count(embedded=(0,)),
            http_statuses=_statuses(*range(200, 209), 226, *range(300, 309)),
        ),
    ),
    unhealthy=Field(
        dict,
        ours=_MUST_CHECK,
        fields=Fields(
            tcp_failures=_count(Ours((1,), "a retry would ask the process that has refused")),
            timeouts=_count(Ours((1,), "each request to a hung process waits read_timeout")),
            http_failures=_count(
                Ours(
                    (0,),
                    "a 503 for want of PostgreSQL would take away what the caches answer",
                ),
                embedded=(0,),
            ),
            http_statuses=_statuses(429, 500, 503),
        ),
    ),
)
_UPSTREAM = Fields(
    _COMMON,
    _instead(_NO_TLS, "client_certificate"),
    _instead(
        _GOES_ROUND,
        *("hash_on", "hash_on_header", "hash_on_cookie", "hash_on_cookie_path"),
        *("hash_on_query_arg", "hash_on_uri_capture", "hash_fallback"),
        *("hash_fallback_header", "hash_fallback_query_arg", "hash_fallback_uri_capture"),
    ),
    name=Field(str, required=True, form=forms.upstream_name_form),
    algorithm=Field(
        str,
        "round-robin",
        one_of=("consistent-hashing", "least-connections", "round-robin", "latency"),
        ours=Ours(("round-robin",), "each process answers every request alike"),
        embedded=("round-robin",),
    ),
    slots=Field(int, 10000, between=(10, 65536), embedded=(10000,)),
    host_header=Field(str, embedded=NOT_EMBEDDED),
    use_srv_name=Field(bool, default=False, embedded=(False,)),
    healthchecks=Field(
        dict,
        ours=_MUST_CHECK,
        fields=Fields(
            active=Field(dict, ours=_MUST_CHECK, fields=_ACTIVE),
            passive=Field(dict, ours=_MUST_CHECK, fields=_PASSIVE),
            threshold=Field(float, 0, between=(0, 100), embedded=(0,)),
        ),
    ),
)
_TARGET = Fields(
    _COMMON,
    _instead("a target stands under its upstream: take it out", "upstream"),
    target=Field(str, required=True, form=forms.target_form),
    weight=Field(int, 100, between=(0, 65535)),
)

ENTITIES: Mapping[str, Kind] = {
    "services": Kind(
        "service", _SERVICE, ("routes", "plugins"), named_by=("name",), unique=("name",)
    ),
    "routes": Kind(
        "route",
        _ROUTE,
        ("plugins",),
        named_by=("name",),
        unique=("name",),
        some_of=("hosts", "paths", "methods"),
        without="takes every request: give it `paths`",
    ),
    "consumers": Kind(
        "consumer",
        _CONSUMER,
        children=("acls", "keyauth_credentials", "plugins"),
        named_by=("username", "custom_id"),
        unique=("username", "custom_id"),
        some_of=("username", "custom_id"),
        without="needs a `username`",
    ),
    "plugins": Kind("plugin", _PLUGIN, unique=("instance_name",)),
    "acls": Kind(
        "acl group",
        Fields(
            _COMMON,
            group=Field(str, required=True),
            consumer=Field(str, embedded=NOT_EMBEDDED),
        ),
        named_by=("group",),
    ),
    "keyauth_credentials": Kind("key", _KEY, unique=("key",)),
    "upstreams": Kind("upstream", _UPSTREAM, ("targets",), named_by=("name",), unique=("name",)),
    "targets": Kind("target", _TARGET, named_by=("target",)),
}
# The kinds that an instance of a plugin may be limited to, and what a plugin's field calls each.
SCOPES = {kind: ENTITIES[kind].called for kind in ("services", "routes", "consumers")}
# The kinds that others stand under, and what the fields of those call each.
PARENTS = {**SCOPES, "upstreams": "upstream"}

# The lists of entities at the top of the file.
TOP = tuple(kind for kind in ENTITIES if kind != "targets")
DOCUMENT = Fields(
    {kind: Field(list) for kind in TOP},
    {
        kind: Field(list, embedded=NOT_EMBEDDED)
        for kind in ("routes", "acls", "keyauth_credentials")
    },
    _instead(_NO_GROUPS, "consumer_groups", "consumer_group_plugins"),
    _instead(_NO_GROUPS, "consumer_group_consumers"),
    _instead("write them under their upstream", "targets"),
    _instead(_NO_TLS_HERE, "certificates", "ca_certificates", "snis"),
    _instead(
        "{vault://env/...} needs no entry here, and other vaults are Enterprise only", "vaults"
    ),
    _instead(_NO_PARTIALS, "partials"),
    _instead(
        _ENTERPRISE,
        *("licenses", "workspaces", "rbac_users", "rbac_roles", "admins", "event_hooks"),
        "_workspace",
    ),
    _instead(_NOT_HERE, "keys", "key_sets", "filter_chains"),
    _instead(
        "Kong without a database takes it from nobody: take it out",
        *("parameters", "clustering_data_planes"),
    ),
    _OTHER_CREDENTIALS,
    _instead(f"decK's, not Kong's: {_NO_GROUPS.partition(': ')[2]}", "_plugin_configs"),
    _instead("decK's, not Kong's: take it out", "_info", "_konnect"),
    _format_version=Field(str, required=True, one_of=(FORMAT_VERSION,)),
    _transform=Field(bool, default=True),
    _ignore=Field(list),
    _comment=Field(str),
)

_NEEDS_COUNTERS = "counters stand in Valkey and are exact only so (`local` let 130 of 100 through)"
_REDIS = Fields(
    host=Field(str, required=True),
    port=Field(int, 6379, between=(0, _MAX_PORT)),
    timeout=Field(
        int,
        2000,
        between=(0, _MAX_MS),
        ours=Ours(range(1, SLOWEST_COUNT + 1), "every request waits so long while Valkey hangs"),
    ),
    database=Field(int, 0, between=(0, _MAX_INT)),
    username=Field(str, referenceable=True, embedded=NOT_EMBEDDED),
    password=Field(str, referenceable=True, embedded=NOT_EMBEDDED),
    ssl=Field(bool, default=False, embedded=(False,)),
    ssl_verify=Field(bool, default=False, embedded=(False,)),
    server_name=Field(str, embedded=NOT_EMBEDDED),
)
_RATE_LIMITING = Fields(
    _instead(
        "the contract tells partners limits by the minute: write `minute`",
        *("second", "hour", "day", "month", "year"),
    ),
    _instead("limits count per partner or address, not by a header", "header_name"),
    _instead("limits count per partner or address, not by path", "path"),
    _instead(
        "this form is of Kong 2: write it under `redis`, without `redis_`",
        *(f"redis_{name}" for name in _REDIS),
    ),
    minute=Field(int, required=True, between=(1, _MAX_INT)),
    limit_by=Field(
        str,
        "consumer",
        one_of=("consumer", "credential", "ip", "service", "header", "path"),
        ours=Ours(("consumer", "ip"), "limits count per partner, and without a key per address"),
        embedded=("consumer", "credential", "ip"),
    ),
    policy=Field(
        str,
        "local",
        one_of=("local", "redis"),
        ours=Ours(("redis",), _NEEDS_COUNTERS),
        embedded=("redis",),
    ),
    sync_rate=Field(
        int, -1, ours=Ours((-1,), "else nodes count apart and add up later"), embedded=(-1,)
    ),
    fault_tolerant=Field(
        bool,
        default=True,
        ours=Ours((True,), "else every request gets 500 while Valkey is away"),
    ),
    hide_client_headers=Field(
        bool,
        default=False,
        ours=Ours((False,), "partners are promised RateLimit headers"),
        embedded=(False,),
    ),
    error_code=Field(int, 429, ours=Ours((429,), "partners are promised 429"), embedded=(429,)),
    error_message=Field(str, "API rate limit exceeded", embedded=("API rate limit exceeded",)),
    redis=Field(dict, required=True, fields=_REDIS),
)
_KEY_AUTH = Fields(
    _instead(_ENTERPRISE, "identity_realms"),
    key_names=Field(
        list, ["apikey"], elements=str, ours=Ours(([API_KEY],), "that is the contract's header")
    ),
    key_in_header=Field(
        bool,
        default=True,
        ours=Ours((True,), "keys come in a header and nowhere else"),
        embedded=(True,),
    ),
    key_in_query=Field(
        bool,
        default=True,
        ours=Ours((False,), "a key in a URL ends in logs and histories"),
        embedded=(False,),
    ),
    key_in_body=Field(
        bool,
        default=False,
        ours=Ours((False,), "Kong would read every body to look for a key"),
        embedded=(False,),
    ),
    hide_credentials=Field(
        bool, default=False, ours=Ours((True,), "the services are never to see a key")
    ),
    anonymous=Field(str, ours=Ours((), "name the consumer that carries the limit for wrong keys")),
    run_on_preflight=Field(bool, default=True, embedded=(True,)),
    realm=Field(str, embedded=NOT_EMBEDDED),
)
_ACL = Fields(
    _instead("name who may, in `allow`: all others are refused", "deny"),
    _instead("Kong OSS has no consumer groups", "include_consumer_groups"),
    allow=Field(list, elements=str, required=True),
    hide_groups_header=Field(bool, default=False),
    always_use_authenticated_groups=Field(bool, default=False, embedded=(False,)),
)
_BACKEND_TOKEN = Fields(
    header=Field(str, required=True, ours=Ours((BACKEND_TOKEN,), "the services look for it there")),
    token=Field(str, required=True, referenceable=True),
    hide=Field(list, [], elements=str),
)
_CORRELATION_ID = Fields(
    header_name=Field(
        str, "Kong-Request-ID", ours=Ours((REQUEST_ID,), "that is the contract's header")
    ),
    generator=Field(
        str,
        "uuid#counter",
        one_of=("uuid", "uuid#counter", "tracker"),
        ours=Ours(("uuid",), "the others show how many requests a node has had"),
        embedded=("uuid",),
    ),
    echo_downstream=Field(
        bool, default=False, ours=Ours((True,), "callers quote the id of an answer")
    ),
)
_PROMETHEUS = Fields(
    _instead("there is no AI behind this gateway", "ai_metrics"),
    per_consumer=Field(
        bool,
        default=False,
        ours=Ours((False,), "10,000 partners would be as many series"),
        embedded=(False,),
    ),
    status_code_metrics=Field(bool, default=False),
    latency_metrics=Field(bool, default=False),
    bandwidth_metrics=Field(bool, default=False, embedded=(False,)),
    upstream_health_metrics=Field(bool, default=False),
)
_SIZE_LIMITING = Fields(
    allowed_payload_size=Field(
        int, 128, between=(0, _MAX_INT), ours=Ours((), "that is far above what a request holds")
    ),
    size_unit=Field(
        str,
        "megabytes",
        one_of=("bytes", "kilobytes", "megabytes"),
        ours=Ours((), "the same number would allow far more"),
    ),
    require_content_length=Field(
        bool,
        default=False,
        ours=Ours((False,), "bodies in chunks would be refused"),
        embedded=(False,),
    ),
)
_TERMINATION = Fields(
    _instead("error-envelope shapes the answer: write `message`", "content_type", "body"),
    status_code=Field(int, 503, between=(100, 599)),
    message=Field(str),
    echo=Field(bool, default=False, embedded=(False,)),
    trigger=Field(str, embedded=NOT_EMBEDDED),
)
# Those that a kong.yml may use, and the embedded gateway runs.
PLUGINS: Mapping[str, Plugin] = {
    "acl": Plugin(950, "lets in {allow}, else 403", _ACL, scopes=("service", "route")),
    "backend-token": Plugin(900, "sets {header}, hides {hide} from the service", _BACKEND_TOKEN),
    "correlation-id": Plugin(100001, "{header_name}, to the service and back", _CORRELATION_ID),
    "error-envelope": Plugin(
        3000,
        "Host in lower case, no Connection; errors as code, message, request_id",
        scopes=(),
    ),
    "key-auth": Plugin(
        1250,
        "key in {key_names}; without a good one the consumer {anonymous}",
        _KEY_AUTH,
        scopes=("service", "route"),
    ),
    "prometheus": Plugin(
        13,
        "counts and times the request, also one that the gateway answers",
        _PROMETHEUS,
        scopes=(),
    ),
    "rate-limiting": Plugin(
        910, "{minute} a minute by {limit_by}, counted at {redis.host}:{redis.port}", _RATE_LIMITING
    ),
    "request-size-limiting": Plugin(
        951, "bodies up to {allowed_payload_size} {size_unit}, else 413", _SIZE_LIMITING
    ),
    "request-termination": Plugin(2, "ends the request", _TERMINATION),
}
