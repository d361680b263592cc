"""Broken builds: QA's kit finds each, for the right reason; the full size is `make verdicts`."""

from pathlib import Path

import msgspec
import pytest

from services.core.environments import Environment
from services.schema.seed import products
from tests.faults.builds import BROKEN, EVERY_PRODUCT, GOOD
from tests.faults.query import is_hit, with_wrong_statuses
from tests.faults.running import Judged, judge

SHORT = 20  # one in so many: 20 seconds have some 300 webhooks and 30 lists


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_build_fails_for_the_right_reason(name: str, tmp_path: Path) -> None:
    build = BROKEN[name]
    judged = judge(build, tmp_path, profile="smoke", every=SHORT)
    assert judged.is_what(build), judged.printed + judged.examples


def test_the_wrong_statuses_are_of_about_one_product_in_a_thousand() -> None:
    listing = [product_id for product_id, _ in products(Environment.LIVE)]
    hit = sum(is_hit(each, EVERY_PRODUCT) for each in listing)
    assert 0.5 <= hit / len(listing) * EVERY_PRODUCT <= 2


def test_a_changed_answer_differs_in_its_statuses_only() -> None:
    items = [{"product_id": f"P-{n}", "status": "in_stock", "quantity": 50} for n in range(50)]
    body = msgspec.json.encode({"items": items, "not_found": []})
    changed = msgspec.json.decode(with_wrong_statuses(body, SHORT))["items"]
    wrong = [each["product_id"] for each in changed if each["status"] != "in_stock"]
    assert wrong == [each["product_id"] for each in items if is_hit(str(each["product_id"]), SHORT)]
    assert [each["quantity"] for each in changed] == [50] * 50


def test_a_verdict_for_another_reason_is_not_right() -> None:
    leaking = BROKEN["leaking"]
    right = Judged("FAIL", leaking.fails, 9000, "another partner's webhook 1 is listed", "")
    assert right.is_what(leaking)
    assert not Judged("FAIL", leaking.fails, 9000, "no answer", "").is_what(leaking)
    assert not Judged("FAIL", frozenset({"errors"}), 9000, right.examples, "").is_what(leaking)
    assert not Judged("PASS", frozenset(), 9000, "", "").is_what(leaking)
    assert Judged("PASS", frozenset(), 9000, "{}", "").is_what(GOOD)
