"""The diff of what runs and what would be sent: entity by entity, never with a key."""

import uuid
from pathlib import Path
from typing import Any

import msgspec

from services.admin.gateway.diff import compare
from services.cli.diff_lines import LINES, change_lines
from services.core.environments import Environment
from services.domain.key_form import make_api_key, shown_part
from services.local.gateway.export import export
from services.policy.flat import flatten, read
from services.policy.render import Addresses, Consumer, CounterStore, Key, render

POLICY = (Path(__file__).parents[4] / "gateway" / "kong.yml").read_text("utf-8")
TOKEN = {"BACKEND_TOKEN": "x" * 32}


def consumer(partner: str, tier: str = "standard", *secrets: str) -> Consumer:
    keys = tuple(Key(uuid.uuid5(uuid.NAMESPACE_DNS, secret), secret) for secret in secrets)
    own = uuid.uuid5(uuid.NAMESPACE_DNS, partner)
    return Consumer(own, partner, Environment.LIVE, tier, keys)


ACME, TECHMART = make_api_key(Environment.LIVE), make_api_key(Environment.LIVE)
PARTNERS = [consumer("acme", "standard", ACME), consumer("techmart", "standard", TECHMART)]
TIERS = {"acme": "standard", "techmart": "standard"}


def lines(
    running: str,
    wanted: str,
    before: str | None = None,
    partners: tuple[list[Consumer], list[Consumer]] = (PARTNERS, PARTNERS),
) -> list[str]:
    """Return the diff of two policies, the first as a node exports it."""
    exported = export(render(running, partners[0], Addresses()), TOKEN)
    changes = compare(
        flatten(read(exported)),
        flatten(read(render(wanted, partners[1], Addresses()))),
        before=flatten(read(render(before or running, partners[1], Addresses()))),
        tiers=TIERS,
    )
    return list(change_lines(changes))


def test_what_a_node_exports_is_what_it_was_sent() -> None:
    assert lines(POLICY, POLICY) == []


def test_a_tiers_limit_is_one_line_for_all_its_consumers() -> None:
    assert lines(POLICY, POLICY.replace("minute: 300", "minute: 600")) == [
        "~ tier standard: minute 300 -> 600 (2 consumers: acme, techmart)"
    ]


def test_services_routes_and_plugins_are_told_by_name() -> None:
    wanted = (
        POLICY.replace("url: http://query\n", "url: http://webhooks\n", 1)
        .replace("paths: [/partner/v1/inventory]", "paths: [/partner/v2/inventory]", 1)
        .replace("allowed_payload_size: 128", "allowed_payload_size: 32", 1)
        .replace("allow: [live]", "allow: [live, other]", 1)
        .replace("retries: 5", "retries: 0", 1)
    )
    assert lines(POLICY, wanted) == [
        '~ plugin acl of service query-live: allow ["live"] -> ["live","other"]',
        "~ plugin request-size-limiting of service query-live: allowed_payload_size 128 -> 32",
        "~ route inventory-live of service query-live: paths"
        ' ["/partner/v1/inventory"] -> ["/partner/v2/inventory"]',
        "~ service query-live: host query -> webhooks",
        "~ service query-live: retries 5 -> 0",
    ]


def test_entities_that_come_and_go_are_told_without_what_belongs_to_them() -> None:
    fewer = (
        POLICY[: POLICY.index("  # The contract and a page")]
        + POLICY[POLICY.index("consumers:\n") :]
    )
    assert lines(fewer, POLICY) == ["+ service documents"]
    assert lines(POLICY, fewer) == ["- service documents"]
    assert lines(POLICY, POLICY, partners=(PARTNERS[:1], PARTNERS)) == ["+ consumer techmart"]
    assert lines(POLICY, POLICY, partners=(PARTNERS, PARTNERS[1:])) == ["- consumer acme"]


def test_a_key_is_shown_by_its_first_characters() -> None:
    more = [consumer("acme", "standard"), PARTNERS[1]]
    (line,) = lines(POLICY, POLICY, partners=(PARTNERS, more))
    assert line == f"- key {shown_part(ACME)}... of consumer acme"
    (line,) = lines(POLICY, POLICY, partners=(more, PARTNERS))
    assert line == f"+ key {shown_part(ACME)}... of consumer acme"


def test_no_line_and_no_change_holds_a_secret() -> None:
    other = make_api_key(Environment.LIVE)
    swapped = [
        msgspec.structs.replace(PARTNERS[0], keys=(Key(PARTNERS[0].keys[0].id, other),)),
        PARTNERS[1],
    ]
    wanted = flatten(read(render(POLICY, swapped, Addresses())))
    running = flatten(read(render(POLICY, PARTNERS, Addresses())))
    for fields in running.values():
        if "config.redis.host" in fields:
            fields["config.redis.password"] = "hunter2"
    for fields in wanted.values():
        if "config.redis.host" in fields:
            fields["config.redis.password"] = "hunter3"
    changes = compare(running, wanted, before={}, tiers=TIERS)
    told = msgspec.json.encode(changes).decode() + "\n".join(change_lines(changes))
    assert "(changed)" in told
    assert f"key {shown_part(other)}..." in told
    for secret in ("hunter2", "hunter3", ACME, TECHMART, other):
        assert secret not in told


def test_a_field_left_out_goes_back_to_kongs_default() -> None:
    wanted = POLICY.replace("    retries: 5\n", "", 1)
    assert lines(POLICY, wanted) == ["~ service query-live: retries 5 -> (Kong's default)"]


def test_fields_that_kong_fills_in_are_no_difference() -> None:
    text = render(POLICY, PARTNERS, Addresses())
    filled: Any = read(export(text, TOKEN))
    for service in filled["services"]:
        service |= {"enabled": True, "created_at": 1, "client_certificate": None}
    for plugin in filled["plugins"]:
        plugin["config"]["sync_rate_limit"] = 5
        plugin |= {"protocols": ["http", "https"], "ws_id": None}
    changes = compare(flatten(filled), flatten(read(text)), before={}, tiers=TIERS)
    assert changes == []


def test_many_partners_do_not_flood_the_screen() -> None:
    many = [consumer(f"partner-{n:03}") for n in range(100)]
    told = lines(POLICY, POLICY, partners=([], many))
    assert len(told) == LINES + 1
    assert told[-1] == f"+ and {100 - LINES} more of kind consumer"


def test_addresses_of_counters_are_told_too() -> None:
    addresses = Addresses(counters=CounterStore("other", 1))
    running = flatten(read(render(POLICY, PARTNERS, Addresses())))
    wanted = flatten(read(render(POLICY, PARTNERS, addresses)))
    told = list(change_lines(compare(running, wanted, before={}, tiers=TIERS)))
    expected = "~ tier standard: redis.host valkey-counters -> other (2 consumers: acme, techmart)"
    assert expected in told
