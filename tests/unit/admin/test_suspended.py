"""A suspended partner in what is rendered, and in what is explained of it."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from services.core.environments import Environment
from services.core.errors import SUSPENDED_MESSAGE
from services.policy.callers import Caller
from services.policy.explain import Explanation, Request, as_text, explain
from services.policy.render import Addresses, Consumer, Key, mask, render

POLICY = (Path(__file__).parents[3] / "gateway" / "kong.yml").read_text()
KEYS = (Key(UUID(int=1), "pk_live_one_of_the_tests"), Key(UUID(int=2), "pk_live_two_of_the_tests"))
SUSPENDED = f"403 PARTNER_SUSPENDED: {SUSPENDED_MESSAGE}"


def acme(*, suspended: bool) -> Consumer:
    return Consumer(UUID(int=9), "acme", Environment.LIVE, "basic", KEYS, suspended)


def rendered(*, suspended: bool) -> dict[str, Any]:
    text = render(POLICY, [acme(suspended=suspended)], Addresses())
    return json.loads(text)["consumers"][-1]


def test_it_keeps_its_keys_group_and_limit_and_gets_a_tag_and_an_end() -> None:
    before, after = rendered(suspended=False), rendered(suspended=True)
    assert after.pop("tags") == ["suspended"]
    end = after["plugins"].pop()
    assert end == {
        "name": "request-termination",
        "config": {"status_code": 403, "message": SUSPENDED_MESSAGE},
    }
    assert after == before
    assert [plugin["name"] for plugin in before["plugins"]] == ["rate-limiting"]


def test_two_suspended_partners_share_nothing() -> None:
    other = Consumer(UUID(int=8), "zeta", Environment.LIVE, "basic", (), suspended=True)
    document = json.loads(render(POLICY, [acme(suspended=True), other], Addresses()))
    texts = {json.dumps(c["plugins"]) for c in document["consumers"][1:]}
    assert len(texts) == 1
    assert [c["tags"] for c in document["consumers"][1:]] == [["suspended"]] * 2


def test_a_masked_text_shows_none_of_its_keys() -> None:
    shown = mask(render(POLICY, [acme(suspended=True)], Addresses()))
    assert not [key for key in KEYS if key.secret in shown]


def explained(
    path: str = "/partner/v1/inventory",
    *,
    state: str = "suspended",
    keys: int = 1,
    host: str | None = None,
) -> Explanation:
    request = Request("GET", path, Environment.LIVE, host)
    caller = Caller(tier="basic", state=state, keys=keys)
    return explain(POLICY, "kong.yml", request, caller, "acme")


def test_explain_tells_the_403_after_the_limit() -> None:
    found = explained()
    assert [(step.plugin, step.scope) for step in found.steps[-4:]] == [
        ("rate-limiting", "consumer (tier basic)"),
        ("backend-token", "global"),
        ("prometheus", "global"),
        ("request-termination", "consumer acme"),
    ]
    assert found.steps[-1].ends == SUSPENDED
    assert found.answer == f"{SUSPENDED} (429 above the limit)"
    assert "acme (live), tier basic, acl group live, 1 working key, suspended" in as_text(found)
    assert msgspec.json.encode(found)
    assert found.anonymous_answer == "401 Unauthorized (429 above the limit)"


def test_explain_tells_the_same_of_a_key_of_the_other_environment() -> None:
    found = explained(host="sandbox-api.localhost")
    assert [step.plugin for step in found.steps[-2:]] == ["acl", "prometheus"]
    assert found.answer == SUSPENDED
    active = explained(host="sandbox-api.localhost", state="active")
    assert active.answer == "403 FORBIDDEN: this key is for the other environment"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/partner/v1/docs", "the service answers (429 above the limit)"),
        ("/partner/v1/unknown", "404 NOT_FOUND: no route takes this request, whatever the key"),
    ],
)
def test_explain_knows_what_suspension_does_not_change(path: str, answer: str) -> None:
    assert explained(path).answer == answer


def test_explain_of_one_without_a_working_key_is_the_401_of_everybody_else() -> None:
    assert explained(keys=0).answer.startswith("no key of it works now, so: 401")
