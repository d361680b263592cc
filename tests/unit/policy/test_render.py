"""The renderer: kong.yml and partners in, one stable text out."""

import json
import random
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.core.environments import Environment
from services.policy.render import Addresses, Consumer, CounterStore, Key, PolicyError, mask, render

POLICY = (Path(__file__).parents[3] / "gateway" / "kong.yml").read_text()


def consumer(
    partner: str, environment: Environment, number: int, tier: str = "premium"
) -> Consumer:
    keys = tuple(
        Key(UUID(int=number * 10 + n), f"{environment.key_prefix}{partner:x<20}{n}") for n in (1, 2)
    )
    return Consumer(UUID(int=number), partner, environment, tier, keys)


PARTNERS = [
    consumer(partner, environment, number * 2 + place)
    for number, partner in enumerate(["techmart", "acme", "zeta"], start=1)
    for place, environment in enumerate(Environment)
]


def rendered(*consumers: Consumer, addresses: Addresses | None = None) -> dict[str, Any]:
    return json.loads(render(POLICY, consumers, addresses or Addresses()))


def test_the_text_is_the_same_whatever_order_the_partners_come_in() -> None:
    texts = set()
    for attempt in range(5):
        shuffled = [
            Consumer(c.id, c.partner, c.environment, c.tier, c.keys[:: 1 if attempt % 2 else -1])
            for c in PARTNERS
        ]
        random.Random(attempt).shuffle(shuffled)
        texts.add(render(POLICY, shuffled, Addresses()))
    assert len(texts) == 1


def test_each_consumer_and_credential_carries_our_own_id() -> None:
    document = rendered(*PARTNERS)
    partners = [c for c in document["consumers"] if c["username"] != "anonymous"]
    assert {c["id"] for c in partners} == {str(c.id) for c in PARTNERS}
    credentials = [credential for c in partners for credential in c["keyauth_credentials"]]
    assert {c["id"] for c in credentials} == {str(k.id) for c in PARTNERS for k in c.keys}


def test_a_partner_is_two_consumers_with_different_names_groups_and_keys() -> None:
    live, sandbox = (consumer("techmart", e, n) for n, e in enumerate(Environment, start=1))
    by_name = {c["username"]: c for c in rendered(live, sandbox)["consumers"]}
    assert by_name["techmart"]["custom_id"] == "techmart:live"
    assert by_name["techmart"]["acls"] == [{"group": "live"}]
    assert by_name["techmart.sandbox"]["custom_id"] == "techmart:sandbox"
    assert by_name["techmart.sandbox"]["acls"] == [{"group": "sandbox"}]


@pytest.mark.parametrize(
    ("tier", "limit"), [("basic", 60), ("standard", 300), ("premium", 1_000), ("qa", 1_000_000)]
)
def test_a_tier_is_a_limit_on_each_consumer(tier: str, limit: int) -> None:
    (found,) = rendered(consumer("acme", Environment.LIVE, 1, tier))["consumers"][1:]
    (plugin,) = found["plugins"]
    assert plugin["name"] == "rate-limiting"
    assert plugin["config"]["minute"] == limit
    assert plugin["config"]["policy"] == "redis"
    assert plugin["config"]["redis"]["timeout"] == 100


def test_the_policy_itself_holds_no_partner_and_no_key() -> None:
    document = rendered()
    assert [c["username"] for c in document["consumers"]] == ["anonymous"]
    assert "keyauth_credentials" not in document["consumers"][0]


def test_what_kong_would_not_need_is_left_out_and_the_rest_is_kept() -> None:
    document = rendered()
    assert "_ignore" not in document
    assert document["_format_version"] == "3.0"
    assert [s["name"] for s in document["services"]] == [
        "query-live",
        "query-sandbox",
        "webhooks-live",
        "webhooks-sandbox",
        "documents",
    ]


def test_targets_are_replaced_by_upstream_name_and_nothing_else_is() -> None:
    elsewhere = Addresses(
        {"query": ("127.0.0.1:9", "127.0.0.1:10")}, CounterStore("127.0.0.2", 7, 3)
    )
    before, after = rendered(*PARTNERS), rendered(*PARTNERS, addresses=elsewhere)
    query, *others = after["upstreams"]
    assert query["targets"] == [{"target": "127.0.0.1:9"}, {"target": "127.0.0.1:10"}]
    assert others == before["upstreams"][1:]
    assert "valkey-counters" not in json.dumps(after)
    query["targets"] = [{"target": "query:8101"}]
    undone = (
        json.dumps(after)
        .replace('"host": "127.0.0.2"', '"host": "valkey-counters"')
        .replace('"port": 7,', '"port": 6379,')
        .replace('"database": 3', '"database": 0')
    )
    assert json.loads(undone) == before


def test_a_masked_text_shows_no_key() -> None:
    shown = mask(render(POLICY, PARTNERS, Addresses()))
    for partner in PARTNERS:
        for key in partner.keys:
            assert key.secret not in shown
            assert key.secret[:12] in shown


def test_an_unknown_upstream_name_is_refused_by_name() -> None:
    with pytest.raises(PolicyError, match="no upstream named query-life"):
        render(POLICY, [], Addresses({"query-life": ("127.0.0.1:9",)}))


def test_a_tier_that_the_file_lacks_is_refused_with_the_partner_and_the_choices() -> None:
    with pytest.raises(PolicyError, match=r"partner acme has tier gold; .*basic, standard"):
        render(POLICY, [consumer("acme", Environment.LIVE, 1, "gold")], Addresses())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "line 2"),
        ("- a list", "must be a map"),
        ("_format_version: '3.0'", "has no tiers"),
        ("a: \x00", "kong.yml"),
    ],
)
def test_a_broken_file_is_refused_with_the_place(text: str, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        render(text + "\n", [], Addresses())
