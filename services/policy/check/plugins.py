"""Plugins: faults of a plugin's name, place and config."""

from collections.abc import Iterator, Mapping

from services.policy.check.fields import Owner, check_fields
from services.policy.entities import KEY_AUTH, Entity, Policy
from services.policy.faults import Fault, nearest
from services.policy.schema import PLUGINS
from services.policy.source import kind_of

_TIER_PLUGIN = "Enterprise only: write rate-limiting with policy redis and sync_rate -1"
_ENVELOPE = "Enterprise only: our plugin error-envelope shapes errors"
_NO_REFERENCES = (
    "Kong sends {vault://...} in its headers as it stands: for a secret header write backend-token"
)
_ONE_KEY = "partners send an API key: write key-auth"

# Plugins that Kong has or had -> what to write instead.
INSTEAD: Mapping[str, str] = {
    "rate-limiting-advanced": _TIER_PLUGIN,
    "response-ratelimiting": "it counts by answers: write rate-limiting",
    "graphql-rate-limiting-advanced": _TIER_PLUGIN,
    "exit-transformer": _ENVELOPE,
    "request-transformer": _NO_REFERENCES,
    "request-transformer-advanced": f"Enterprise only. {_NO_REFERENCES}",
    "key-auth-enc": "Enterprise only: write key-auth; admin keeps keys encrypted",
    "vault-auth": f"Enterprise only, and {_ONE_KEY}",
    "openid-connect": f"Enterprise only, and {_ONE_KEY}",
    "oauth2": f"it needs a database, and {_ONE_KEY}",
    "oauth2-introspection": f"Enterprise only, and {_ONE_KEY}",
    "basic-auth": _ONE_KEY,
    "hmac-auth": _ONE_KEY,
    "jwt": _ONE_KEY,
    "ldap-auth": _ONE_KEY,
    "ldap-auth-advanced": f"Enterprise only, and {_ONE_KEY}",
    "mtls-auth": f"Enterprise only, and {_ONE_KEY}",
    "header-cert-auth": f"Enterprise only, and {_ONE_KEY}",
    "request-validator": "Enterprise only: the services check what they are sent",
    "oas-validation": "Enterprise only: the services check what they are sent",
    "proxy-cache-advanced": "Enterprise only: the services have a cache of their own",
    "proxy-cache": "the services have a cache of their own, which a stock change renews",
    "response-transformer-advanced": _ENVELOPE,
    "opa": "Enterprise only: acl with one group for each environment",
    "canary": "Enterprise only: write a service and route of its own",
    "route-by-header": "Enterprise only: write a route with `headers`",
    "forward-proxy": "Enterprise only: give the service's own address",
    "jq": _ENVELOPE,
    "mocking": "Enterprise only: the sandbox answers without harm",
    "application-registration": "Enterprise only: `partnerapi partners create`",
}
# The other plugins of Kong 3.9 OSS, which this check and the embedded gateway do not know.
BUNDLED = frozenset(
    (
        "acme", "ai-prompt-decorator", "ai-prompt-guard", "ai-prompt-template", "ai-proxy",
        "ai-request-transformer", "ai-response-transformer", "aws-lambda", "azure-functions",
        "bot-detection", "cors", "datadog", "file-log", "grpc-gateway", "grpc-web", "http-log",
        "ip-restriction", "loggly", "opentelemetry", "post-function", "pre-function",
        "redirect", "response-transformer", "session", "standard-webhooks",
        "statsd", "syslog", "tcp-log", "udp-log", "zipkin",
    )
)  # fmt: skip
ADD_IT = (
    "Kong has it, but neither this check nor the gateway of a laptop: its fields belong into"
    " services/policy/schema.py and a module into services/local/gateway/plugins first"
)


def plugin_faults(policy: Policy, plugin: Entity) -> Iterator[Fault]:
    """Yield the faults of a plugin's name, place and config."""
    name = plugin.text("name")
    if name is None:
        return
    line = plugin.value.map["name"].line
    if name not in PLUGINS:
        yield Fault(line, _unknown_plugin(name))
        return
    if plugin.via is not None:
        words = "to Kong an aliased plugin is one plugin, not two: write it out"
        yield Fault(plugin.via, f"{plugin.label} is reached through an alias; {words}")
    yield from _scope_faults(plugin, line)
    yield from config_faults(plugin)
    anonymous = plugin.setting("anonymous") if name == KEY_AUTH else None
    if isinstance(anonymous, str) and policy.named("consumers", anonymous) is None:
        words = f"`anonymous` of {plugin.label} names a consumer `{anonymous}` that is not in"
        yield Fault(plugin.line_of("anonymous"), f"{words} the file: add it under `consumers`")


def config_faults(plugin: Entity) -> Iterator[Fault]:
    """Yield the faults of a plugin's config."""
    config = plugin.config
    if config is not None and config.data is not None and not isinstance(config.data, dict):
        words = f"`config` of {plugin.label} must be a map, not {kind_of(config.data)}"
        yield Fault(config.line, words)
    else:
        owner = Owner(plugin.label, plugin.line)
        fields = PLUGINS[plugin.name].fields
        yield from check_fields(fields, config.map if config else {}, owner)


def _scope_faults(plugin: Entity, line: int) -> Iterator[Fault]:
    scopes, name = PLUGINS[plugin.name].scopes, plugin.name
    if not scopes and plugin.targets:
        yield Fault(line, f"{name} is for every request: put it into `plugins` of the file itself")
    elif "consumer" in plugin.targets and "consumer" not in scopes:
        yield Fault(line, f"{name} runs before Kong knows the consumer: put it under a service")


def _unknown_plugin(name: str) -> str:
    if name in INSTEAD:
        return f"no plugin `{name}` here: {INSTEAD[name]}"
    if name in BUNDLED:
        return f"no plugin `{name}` here: {ADD_IT}"
    known = {*PLUGINS, *BUNDLED}
    words = nearest(name, known)
    return f"no plugin is called `{name}`: " + (
        words if words.startswith("did") else nearest("", PLUGINS)
    )
