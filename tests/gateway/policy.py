"""Policy: gateway/kong.yml as rendered for the tests, and beside it what shows one rule each."""

import itertools
import json
import uuid
from dataclasses import dataclass

from services.core.environments import Environment
from services.policy.render import Addresses, Consumer, CounterStore, Key, render
from tests.gateway.nodes import ROOT
from tools.gateway_node import Document

INVENTORY = "/partner/v1/inventory"
WEBHOOKS = "/partner/v1/webhooks"
SANDBOX_ONLY = "/partner/v1/sandbox"
SANDBOX_HOST = "sandbox-api.localhost"
KONG_YML = ROOT / "gateway" / "kong.yml"

# Whoever a case is about. Keys are made up here and worth nothing.
LIVE_KEY = "pk_live_conformance_one"
LIVE_KEY_TWO = "pk_live_conformance_two"
SANDBOX_KEY = "pk_test_conformance"
LIVE_ID = uuid.UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")
LIVE_KEY_ID = uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
RANKED_KEY = "ranked-key"  # has limits at every level
UNRANKED_KEY = "unranked-key"  # has none of its own

# What the paths of a service's requests begin with; the others have their own.
_PREFIXES = {
    "query-sandbox": "/sandbox",
    "webhooks-live": "/webhooks-live",
    "webhooks-sandbox": "/webhooks-sandbox",
}
_addresses = itertools.count(1)


@dataclass(frozen=True)
class Places:
    """Where the things are that a configuration names."""

    service: str  # the recording service's URL
    closed: str  # a URL where nobody listens
    counters: CounterStore
    stalled: CounterStore  # one that can be stopped
    no_counters: CounterStore  # one that is not there


def own_address() -> str:
    """Return a loopback address that no other case uses: wrong keys are limited by address."""
    number = next(_addresses)
    return f"127.77.{number // 250}.{number % 250 + 1}"


def own_path(prefix: str = INVENTORY) -> str:
    """Return a path below a prefix that no other case uses."""
    return f"{prefix}/{uuid.uuid4().hex[:12]}"


def partner(
    name: str, tier: str, *keys: str, environment: str = "live", suspended: bool = False
) -> Consumer:
    """Return a partner as admin would render it."""
    made = tuple(Key(uuid.uuid5(uuid.NAMESPACE_URL, key), key) for key in keys)
    return Consumer(uuid.uuid4(), name, Environment(environment), tier, made, suspended)


def conformance_policy(places: Places, *more: Consumer) -> Document:
    """Return the configuration that most cases run under."""
    consumers = [
        Consumer(
            LIVE_ID,
            "techmart",
            Environment.LIVE,
            "qa",
            (Key(LIVE_KEY_ID, LIVE_KEY), Key(uuid.uuid4(), LIVE_KEY_TWO)),
        ),
        partner("techmart", "qa", SANDBOX_KEY, environment="sandbox"),
        *more,
    ]
    target = places.service.removeprefix("http://")
    upstreams = dict.fromkeys(("query", "sandbox-query", "webhooks", "sandbox-webhooks"), (target,))
    addresses = Addresses(upstreams, places.counters)
    document = json.loads(render(KONG_YML.read_text("utf-8"), consumers, addresses))
    for each in document["services"]:  # so that a request tells the service by which it came
        each["url"] += _PREFIXES.get(each["name"], "")
    document["services"] += _services(places)
    document["consumers"] += _consumers(places)
    document["plugins"] += [
        limit(20, places.counters) | {"consumer": "ranked", "route": "limits-both"}
    ]
    return document


def limit(minute: int, store: CounterStore, **config: object) -> Document:
    """Return a rate-limiting plugin."""
    redis = {"host": store.host, "port": store.port, "database": store.database, "timeout": 100}
    defaults = {"policy": "redis", "sync_rate": -1, "fault_tolerant": True, "limit_by": "consumer"}
    return {
        "name": "rate-limiting",
        "config": {**defaults, "minute": minute, **config, "redis": redis},
    }


def key_auth(**config: object) -> Document:
    """Return a key-auth plugin."""
    defaults = {"key_names": ["X-API-Key"], "key_in_query": False, "hide_credentials": True}
    return {"name": "key-auth", "config": {**defaults, **config}}


def service(
    name: str, url: str, *paths: str, route: Document | None = None, **more: object
) -> Document:
    """Return a service with one route of its name."""
    route = {"name": name, "paths": list(paths), "strip_path": False, **(route or {})}
    return {"name": name, "url": url, "routes": [route], **more}


def _services(places: Places) -> list[Document]:
    url, store = places.service, places.counters
    impatient: Document = {"read_timeout": 300, "connect_timeout": 2000, "write_timeout": 2000}
    persistent: Document = {"retries": 3, **impatient}
    return [
        service("open", url, "/open"),
        service("open-longer", f"{url}/longer", "/open/longer"),
        service("open-regex", f"{url}/regex", r"~/re[0-9]"),
        service("open-prefix", f"{url}/prefix", "/re1-and-much-longer-than-that"),
        service("by-host", f"{url}/by-host", "/open", route={"hosts": ["host.example"]}),
        service("by-port", f"{url}/by-port", "/open", route={"hosts": ["port.example:8443"]}),
        service("by-verb", f"{url}/by-verb", "/open/verb", route={"methods": ["GET"]}),
        service("by-method", f"{url}/by-method", "/method", route={"methods": ["PUT"]}),
        service("stripping", f"{url}/base", "/strip", route={"strip_path": True}),
        service("guests", url, "/guests", plugins=[key_auth(anonymous="guest")]),
        service("strict-keys", url, "/strict-keys", plugins=[key_auth()]),
        service("visible-keys", url, "/visible-keys", plugins=[key_auth(hide_credentials=False)]),
        service(
            "members", url, "/members", plugins=[{"name": "acl", "config": {"allow": ["live"]}}]
        ),
        service(
            "groups",
            url,
            "/groups",
            plugins=[key_auth(), {"name": "acl", "config": {"allow": ["live"]}}],
        ),
        service("impatient", url, "/impatient", **impatient, retries=0),
        service("persistent", url, "/persistent", **persistent),
        service("closed", places.closed, "/closed", **impatient, retries=1),
        service("nowhere", "http://nowhere.invalid:80", "/nowhere", **impatient, retries=0),
        service(
            "ended",
            url,
            "/ended",
            plugins=[
                {
                    "name": "request-termination",
                    "config": {"status_code": 503, "message": 'closed for "stock taking"'},
                }
            ],
        ),
        service("stalled", url, "/stalled", plugins=[limit(10, places.stalled, limit_by="ip")]),
        service("loose", url, "/loose", plugins=[limit(10, places.no_counters, limit_by="ip")]),
        service(
            "strict",
            url,
            "/strict",
            plugins=[limit(10, places.no_counters, limit_by="ip", fault_tolerant=False)],
        ),
        {
            "name": "limits",
            "url": url,
            "plugins": [key_auth(), limit(40, store)],
            "routes": [
                {"name": "limits-plain", "paths": ["/limits/plain"], "strip_path": False},
                {
                    "name": "limits-own",
                    "paths": ["/limits/own"],
                    "strip_path": False,
                    "plugins": [limit(30, store)],
                },
                {
                    "name": "limits-both",
                    "paths": ["/limits/both"],
                    "strip_path": False,
                    "plugins": [limit(30, store)],
                },
            ],
        },
        service(
            "by-credential",
            url,
            "/by-credential",
            plugins=[key_auth(), limit(3, store, limit_by="credential")],
        ),
    ]


def _consumers(places: Places) -> list[Document]:
    return [
        {"username": "guest", "custom_id": "guest-id"},
        {
            "username": "ranked",
            "keyauth_credentials": [{"key": RANKED_KEY}],
            "plugins": [limit(60, places.counters)],
        },
        {
            "username": "unranked",
            "keyauth_credentials": [{"key": UNRANKED_KEY}, {"key": f"{UNRANKED_KEY}-two"}],
        },
    ]
