"""Render: kong.yml's text and the partners of now -> the one text that every node runs.

Pure: the same input gives the same bytes, so a node's configuration_hash names its text.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

import msgspec
import yaml

from services.core.environments import Environment
from services.core.errors import STATUS_OF, SUSPENDED_MESSAGE, ErrorCode
from services.domain.key_form import shown_part

Document = dict[str, Any]

NAMED = 10  # partners named in one message: a screen's worth

# A suspended partner's consumer keeps its keys and its tier's limit, and carries this tag, by which
# error-envelope knows it, and this plugin, which ends its requests last of all (priority 2).
SUSPENDED_TAG = "suspended"
SUSPENSION: Document = {
    "name": "request-termination",
    "config": {
        "status_code": STATUS_OF[ErrorCode.PARTNER_SUSPENDED],
        "message": SUSPENDED_MESSAGE,
    },
}


class PolicyError(Exception):
    """A kong.yml that can't be rendered; the message says where and how to correct it."""


class Key(msgspec.Struct, frozen=True):
    """An API key in plain text; its id is what services see in X-Credential-Identifier."""

    id: UUID
    secret: str

    def __repr__(self) -> str:
        """Leave the secret out: representations end in logs and tracebacks."""
        return f"Key(id={self.id})"


class Consumer(msgspec.Struct, frozen=True):
    """One partner in one environment, as the gateway knows it."""

    id: UUID
    partner: str
    environment: Environment
    tier: str
    keys: tuple[Key, ...]
    suspended: bool = False


class CounterStore(msgspec.Struct, frozen=True):
    """The Valkey that holds the gateway's counters."""

    host: str
    port: int
    database: int = 0


class Addresses(msgspec.Struct, frozen=True):
    """The addresses that replace those of kong.yml, which are compose.yaml's."""

    upstreams: Mapping[str, Sequence[str]] = {}  # by name: each target as host:port
    counters: CounterStore | None = None


def render(policy_text: str, consumers: Iterable[Consumer], addresses: Addresses) -> str:
    """Return the text to publish: the policy, addresses replaced, and a consumer for each partner.

    JSON, which Kong reads as it reads YAML and much faster, without `_ignore`. Raises PolicyError.
    """
    policy = parse_policy(policy_text)
    tiers = tiers_of(policy)
    document = {key: value for key, value in policy.items() if key != "_ignore"}
    ordered = sorted(consumers, key=lambda consumer: (consumer.partner, consumer.environment))
    _require_tiers(ordered, tiers)
    document["consumers"] = [
        *policy.get("consumers", []),
        *(_consumer(consumer, tiers) for consumer in ordered),
    ]
    _replace_addresses(document, addresses)
    return msgspec.json.encode(document).decode()


def mask(text: str) -> str:
    """Return a rendered text with every key masked."""
    document: Document = msgspec.json.decode(text)
    for consumer in document.get("consumers", []):
        for credential in consumer.get("keyauth_credentials", []):
            credential["key"] = shown_part(credential["key"]) + "..."
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def parse_policy(policy_text: str) -> Document:
    """Return kong.yml as a document, no two parts of it one object. Raises PolicyError."""
    try:
        document = yaml.load(policy_text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 0
        msg = f"kong.yml line {line}: {exc.problem}"
        raise PolicyError(msg) from exc
    except yaml.YAMLError as exc:  # a character that YAML does not allow
        msg = f"kong.yml: {exc}"
        raise PolicyError(msg) from exc
    if not isinstance(document, dict):
        msg = "kong.yml must be a map with _format_version, services, routes and so on"
        raise PolicyError(msg)
    # YAML aliases are one object in several places; the copies below must not be.
    return msgspec.json.decode(msgspec.json.encode(document))


def tiers_of(policy: Document) -> dict[str, Document]:
    """Return the tiers by name, each a rate-limiting plugin. Raises PolicyError."""
    entries: object = policy.get("_ignore")
    for entry in cast("list[object]", entries) if isinstance(entries, list) else []:
        tiers = cast("Document", entry).get("tiers") if isinstance(entry, dict) else None
        if isinstance(tiers, dict):
            return cast("dict[str, Document]", tiers)
    msg = "kong.yml has no tiers: put a list entry `- tiers:` with a plugin for each under _ignore"
    raise PolicyError(msg)


def _require_tiers(consumers: Iterable[Consumer], tiers: Mapping[str, Document]) -> None:
    lacking = {each.partner: each.tier for each in consumers if each.tier not in tiers}
    if lacking:
        known = f"kong.yml has only {', '.join(tiers)}: add it, or change the partner's"
        lines = [f"partner {name} has tier {tier}; {known}" for name, tier in lacking.items()]
        rest = [f"and {len(lines) - NAMED:,} more partners"] if len(lines) > NAMED else []
        raise PolicyError("\n".join([*lines[:NAMED], *rest]))


def _consumer(consumer: Consumer, tiers: Mapping[str, Document]) -> Document:
    rendered = _admitted(consumer, tiers)
    if consumer.suspended:
        rendered["tags"] = [SUSPENDED_TAG]
        rendered["plugins"].append(SUSPENSION)
    return rendered


def _admitted(consumer: Consumer, tiers: Mapping[str, Document]) -> Document:
    return {
        "id": str(consumer.id),
        "username": consumer.environment.username(consumer.partner),
        "custom_id": consumer.environment.custom_id(consumer.partner),
        "acls": [{"group": str(consumer.environment)}],
        "keyauth_credentials": [
            {"id": str(key.id), "key": key.secret} for key in sorted(consumer.keys, key=_by_id)
        ],
        # Shared, not copied: of 10,000 partners the copies took half of the rendering's time.
        "plugins": [tiers[consumer.tier]],
    }


def _by_id(key: Key) -> UUID:
    return key.id


def _replace_addresses(document: Document, addresses: Addresses) -> None:
    upstreams: list[Document] = document.get("upstreams", [])
    unknown = set(addresses.upstreams) - {upstream.get("name") for upstream in upstreams}
    if unknown:
        msg = f"kong.yml has no upstream named {', '.join(sorted(unknown))}"
        raise PolicyError(msg)
    for upstream in upstreams:
        targets = addresses.upstreams.get(upstream["name"])
        if targets is not None:
            upstream["targets"] = [{"target": target} for target in targets]
    if addresses.counters is not None:
        store = msgspec.to_builtins(addresses.counters)
        for plugin in _plugins(document):
            if "redis" in (plugin.get("config") or {}):
                plugin["config"]["redis"] = {**plugin["config"]["redis"], **store}


def _plugins(document: Document) -> Iterable[Document]:
    """Yield every plugin of a document: of the file, of services, routes and consumers."""
    yield from document.get("plugins") or []
    for kind in ("services", "routes", "consumers"):
        entities: list[Document] = document.get(kind) or []
        for entity in entities:
            yield from _plugins(entity)
