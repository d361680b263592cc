"""Upstream fields: upstreams and targets as Kong 3.9 knows them, and what we ask of each."""

from services.policy.check.fields import Field, Fields, Ours

# services/core/http/health.py has the path and services/core/http/serving.py the seconds; a test
# compares them. Importing them here would load a web framework for `gateway check`.
ACCEPTING_PATH = "/health/accepting"
LAME_DUCK = 4  # seconds

_NOTICED = f"0 is no check, and a process that leaves serves for less than {LAME_DUCK} s"
_BACK = "a process that was replaced must be back before the next one is taken out"
_WAITS = "0 is no check, and a process that is back waits so long for requests"
_GOES_ROUND = "requests go round, as each process answers every request alike: take it out"
_NO_TLS = "services speak plain HTTP: take it out"
_MAX_COUNT, _MAX_SECONDS = 255, 65535


def _count(ours: Ours) -> Field:
    return Field(int, 0, between=(0, _MAX_COUNT), ours=ours)


def _seconds(ours: Ours) -> Field:
    return Field(float, 0, between=(0, _MAX_SECONDS), ours=ours)


_STATUSES = Field(list, elements=int)
_ACTIVE: Fields = {
    "type": Field(
        str,
        "http",
        one_of=("tcp", "http", "https", "grpc", "grpcs"),
        ours=Ours(("http",), f"a process that leaves says so at {ACCEPTING_PATH} and nowhere else"),
    ),
    "http_path": Field(
        str,
        "/",
        ours=Ours(
            (ACCEPTING_PATH,),
            "/health/ready is 503 for every process while PostgreSQL is away, and their caches"
            " still answer",
        ),
    ),
    "timeout": Field(
        float,
        1,
        between=(0, _MAX_SECONDS),
        ours=Ours(range(1, LAME_DUCK), "a process that hangs gets requests so long"),
    ),
    "concurrency": Field(int, 10, between=(1, 2**31)),
    "headers": Field(dict),
    "https_sni": Field(str, instead=_NO_TLS),
    "https_verify_certificate": Field(bool, default=True),
    "healthy": Field(
        dict,
        required=True,
        fields={
            "interval": _seconds(Ours((1,), _NOTICED)),
            "successes": _count(Ours((1,), _WAITS)),
            "http_statuses": _STATUSES,
        },
    ),
    "unhealthy": Field(
        dict,
        required=True,
        fields={
            "interval": _seconds(Ours((0.5,), _BACK)),
            "http_failures": _count(Ours((3,), f"{_BACK}, and {_NOTICED}")),
            "tcp_failures": _count(Ours(range(1, LAME_DUCK), _NOTICED)),
            "timeouts": _count(Ours(range(1, LAME_DUCK), _NOTICED)),
            "http_statuses": _STATUSES,
        },
    ),
}
_PASSIVE: Fields = {
    "type": Field(str, "http", one_of=("tcp", "http", "https", "grpc", "grpcs")),
    "healthy": Field(
        dict,
        fields={"successes": Field(int, 0, between=(0, _MAX_COUNT)), "http_statuses": _STATUSES},
    ),
    "unhealthy": Field(
        dict,
        required=True,
        fields={
            "tcp_failures": _count(Ours((1,), "a retry would ask the process that has refused")),
            "timeouts": _count(Ours((1,), "each request to a hung process waits read_timeout")),
            "http_failures": _count(
                Ours((0,), "a 503 for want of PostgreSQL would take away what the caches answer")
            ),
            "http_statuses": _STATUSES,
        },
    ),
}
UPSTREAM: Fields = {
    "name": Field(str, required=True),
    "algorithm": Field(
        str,
        "round-robin",
        one_of=("consistent-hashing", "least-connections", "round-robin", "latency"),
        ours=Ours(("round-robin",), "each process answers every request alike"),
    ),
    "slots": Field(int, 10000, between=(10, 65536)),
    "host_header": Field(str),
    "use_srv_name": Field(bool, default=False),
    "healthchecks": Field(
        dict,
        required=True,
        fields={
            "active": Field(dict, required=True, fields=_ACTIVE),
            "passive": Field(dict, required=True, fields=_PASSIVE),
            "threshold": Field(float, 0, between=(0, 100)),
        },
    ),
    "client_certificate": Field(str, instead=_NO_TLS),
    **{
        name: Field(str, instead=_GOES_ROUND)
        for name in (
            *("hash_on", "hash_on_header", "hash_on_cookie", "hash_on_cookie_path"),
            *("hash_on_query_arg", "hash_on_uri_capture", "hash_fallback"),
            *("hash_fallback_header", "hash_fallback_query_arg", "hash_fallback_uri_capture"),
        )
    },
}
TARGET: Fields = {
    "target": Field(str, required=True),
    "weight": Field(int, 100, between=(0, 65535)),
}
