"""Missing: what Kong OSS without a database does not have, and what to write instead (KONG.md)."""

from collections.abc import Mapping

_TIER = (
    "a tier is a rate-limiting plugin under `_ignore`, which the renderer copies to each partner"
)
_NOT_HERE = "nothing here uses it: take it out"
_PUBLISHED = "Kong without a database takes it from nobody: take it out"

# kind of entity ("" is the file itself) -> field -> what to write instead.
FIELDS: Mapping[str, Mapping[str, str]] = {
    "": {
        "consumer_groups": f"Kong OSS has no consumer groups: {_TIER}",
        "consumer_group_plugins": f"Kong OSS has no consumer groups: {_TIER}",
        "consumer_group_consumers": f"Kong OSS has no consumer groups: {_TIER}",
        "targets": "write them under their upstream",
        "certificates": "the load balancer in front ends TLS: take it out",
        "ca_certificates": "the load balancer in front ends TLS: take it out",
        "snis": "the load balancer in front ends TLS: take it out",
        "vaults": "{vault://env/...} needs no entry here, and other vaults are Enterprise only",
        "partials": "Enterprise only: an anchor under `_ignore` does the same, as `counters` does",
        "licenses": "Enterprise only: take it out",
        "workspaces": "Enterprise only: take it out",
        "rbac_users": "Enterprise only: take it out",
        "rbac_roles": "Enterprise only: take it out",
        "admins": "Enterprise only: take it out",
        "event_hooks": "Enterprise only: take it out",
        "keys": _NOT_HERE,
        "key_sets": _NOT_HERE,
        "filter_chains": _NOT_HERE,
        "parameters": _PUBLISHED,
        "clustering_data_planes": _PUBLISHED,
        "basicauth_credentials": "partners send an API key: take it out",
        "hmacauth_credentials": "partners send an API key: take it out",
        "jwt_secrets": "partners send an API key: take it out",
        "oauth2_credentials": "partners send an API key: take it out",
        "_workspace": "Enterprise only: take it out",
        "_plugin_configs": f"decK's, not Kong's: {_TIER}",
        "_info": "decK's, not Kong's: take it out",
        "_konnect": "decK's, not Kong's: take it out",
    },
    "services": {"ws_id": "Enterprise only: take it out"},
    "routes": {"ws_id": "Enterprise only: take it out"},
    "consumers": {
        "groups": f"Kong OSS has no consumer groups: {_TIER}; for acl write `acls: [group: live]`",
        "consumer_groups": f"Kong OSS has no consumer groups: {_TIER}",
        "type": "Enterprise only: take it out",
        "basicauth_credentials": "partners send an API key: take it out",
        "hmacauth_credentials": "partners send an API key: take it out",
        "jwt_secrets": "partners send an API key: take it out",
        "oauth2_credentials": "partners send an API key: take it out",
    },
    "keyauth_credentials": {
        "ttl": "without a database such a key is refused from its first request on: set its end"
        " with `partnerapi keys`; expiry is a publish without the key",
    },
    "plugins": {
        "consumer_group": f"Kong OSS has no consumer groups: {_TIER}",
        "ordering": "Enterprise only: Kong runs plugins by their own priorities",
        "partials": "Enterprise only: an anchor under `_ignore` does the same, as `counters` does",
        "run_on": "of Kong 1: take it out",
        "api_id": "of Kong 0: write `service` or `route`",
    },
}

_TIER_PLUGIN = "Enterprise only: write rate-limiting with policy redis and sync_rate -1"
_ENVELOPE = "Enterprise only: our plugin error-envelope shapes errors"
_NO_REFERENCES = (
    "Kong sends {vault://...} in its headers as it stands: for a secret header write backend-token"
)
_ONE_KEY = "partners send an API key: write key-auth"

# Plugins that people reach for and what to write instead.
PLUGINS: Mapping[str, str] = {
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
# The rest of what Kong 3.9 OSS bundles: there, but unknown to this check and on a laptop.
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
    " services/policy/check/kong.py and a module into services/local/gateway/plugins"
    " first"
)
