"""Secrets: a kong.yml holds none, as many read it and version control keeps it for ever."""

import re
from collections.abc import Iterator, Mapping

from services.policy.entities import Policy
from services.policy.faults import Fault
from services.policy.fields import Fields
from services.policy.schema import PLUGINS
from services.policy.source import Value

_REFERENCE = re.compile(r"\{vault://env/[A-Za-z0-9_-]+\}")
_VAULT = "{vault:"
_SECRET_NAMES = re.compile(
    r"(.*[_-])?(password|passwd|secret|token|private_key|api_?key)", re.IGNORECASE
)
# Keys and signing secrets of ours, and private keys: in values and in comments.
_LOOKS_SECRET = re.compile(
    r"pk_(live|test)_[0-9A-Za-z]{8}|whsec_[0-9A-Za-z+/=]{16}|-----BEGIN [A-Z ]*PRIVATE KEY"
)


def secret_faults(text: str, policy: Policy) -> Iterator[Fault]:
    """Yield the place of each secret, never the secret itself."""
    yield from text_faults(text)
    referenceable = set(_referenceable(policy))
    for key in policy.of("keyauth_credentials"):
        value = key.value.map.get("key")
        if value is not None and not str(value.data).startswith(_VAULT):
            words = "keys are not written here: `partnerapi keys create` makes one, and the"
            yield Fault(value.line, f"an API key stands in the file; {words} renderer adds it")
    for holder in policy.root.walk():
        for name, value in holder.map.items():
            yield from _faults(name, value, may_refer=value.node in referenceable)
        for value in holder.items:
            yield from _faults("", value, may_refer=False)


def text_faults(text: str) -> Iterator[Fault]:
    """Yield the lines that seem to hold a key, comments included."""
    for number, line in enumerate(text.splitlines(), 1):
        if _LOOKS_SECRET.search(line):
            words = "a key or secret of ours stands on this line: take it out, and revoke it"
            yield Fault(number, f"{words}, as others have read it")


def _faults(name: str, value: Value, *, may_refer: bool) -> Iterator[Fault]:
    if not isinstance(value.data, str):
        if _SECRET_NAMES.fullmatch(name) and type(value.data) in {int, float}:
            yield Fault(value.line, _plaintext(name))
    elif value.data.startswith(_VAULT):
        is_secret = may_refer or bool(_SECRET_NAMES.fullmatch(name))
        if not is_secret:
            words = "Kong does not resolve a {vault://...} here: the text itself would count"
            advice = "keys come from `partnerapi keys`, a secret header from backend-token"
            yield Fault(value.line, f"`{name}`: {words}; {advice}")
        elif not _REFERENCE.fullmatch(value.data):
            words = "Kong OSS reads secrets from its environment alone: write {vault://env/NAME}"
            yield Fault(value.line, f"`{name}`: {words}")
    elif _SECRET_NAMES.fullmatch(name) and value.data:
        yield Fault(value.line, _plaintext(name))
    elif _VAULT in value.data:
        yield Fault(value.line, f"`{name}`: Kong sends a {{vault://...}} inside a text literally")


def _plaintext(name: str) -> str:
    return (
        f"`{name}` is a secret in plain text: write {{vault://env/NAME}} and put the value into"
        " the nodes' environment"
    )


def _referenceable(policy: Policy) -> Iterator[int]:
    for plugin in (*policy.of("plugins"), *policy.tiers.values()):
        if plugin.config is not None and plugin.name in PLUGINS:
            yield from _nodes(PLUGINS[plugin.name].fields, plugin.config.map)


def _nodes(fields: Fields, given: Mapping[str, Value]) -> Iterator[int]:
    for name, value in given.items():
        known = fields.get(name)
        if known is not None and known.referenceable:
            yield value.node
        elif known is not None:
            yield from _nodes(known.fields, value.map)
