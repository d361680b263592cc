"""Tiers: faults of the limits under `_ignore`, which the renderer copies to each partner."""

from collections.abc import Iterator

from services.policy.check.fields import Owner, check_fields
from services.policy.check.plugins import config_faults
from services.policy.entities import LIMIT, Entity, Policy, tiers_value
from services.policy.faults import Fault
from services.policy.schema import ENTITIES
from services.policy.source import kind_of

# Copied to every partner, where each must be another one's or none.
_ONE_OF_A_KIND = ("id", "instance_name", "service", "route", "consumer")


def tier_faults(policy: Policy) -> Iterator[Fault]:
    """Yield the faults of the tiers and of their list."""
    given = tiers_value(policy.root)
    if given is None or given.data in (None, {}):
        ignored = policy.root.map.get("_ignore")
        line = given.at if given else ignored.at if ignored else policy.root.line
        words = "a list entry `- tiers:` with a rate-limiting plugin for each"
        yield Fault(line, f"there are no tiers: put {words} under `_ignore`")
    elif not isinstance(given.data, dict):
        yield Fault(given.line, f"`tiers` must be a map by name, not {kind_of(given.data)}")
    for tier in policy.tiers.values():
        yield from _tier_faults(tier)


def _tier_faults(tier: Entity) -> Iterator[Fault]:
    value = tier.value
    if not isinstance(value.data, dict):
        yield Fault(value.line, f"{tier.label} must be a plugin, not {kind_of(value.data)}")
        return
    if tier.text("name") != LIMIT:
        line = value.map["name"].line if "name" in value.map else tier.line
        yield Fault(line, f"{tier.label} must be a plugin with `name: rate-limiting`")
        return
    for name in _ONE_OF_A_KIND:
        if name in value.map:
            words = f"`{name}` of {tier.label} would be the same for every partner: take it out"
            yield Fault(value.map[name].at, words)
    if not tier.enabled:
        line = value.map["enabled"].line
        yield Fault(
            line, f"{tier.label} is not enabled, so its partners have no limit: take it out"
        )
    own = {n: v for n, v in value.map.items() if n not in (*_ONE_OF_A_KIND, "config")}
    fields, owner = ENTITIES["plugins"].fields, Owner(tier.label, tier.line)
    yield from check_fields(fields, own, owner, ("config",))
    yield from config_faults(tier)
    if tier.setting("limit_by") == "ip":
        words = "must be consumer: a tier is for a partner, whatever its addresses"
        yield Fault(tier.line_of("limit_by"), f"`limit_by` of {tier.label} {words}")
