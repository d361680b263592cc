"""Answers: what breaks the contract is told, what keeps it is not."""

import json
from typing import Any

import pytest

from loadtests import answers
from loadtests.answers import WrongAnswerError

NOW = "2026-01-02T03:04:05.678Z"


def _item(product_id: str = "TV-1", **changed: object) -> dict[str, Any]:
    good = {"quantity": 7, "status": "low_stock", "updated_at": NOW, "version": 3}
    return {"product_id": product_id, **good, **changed}


def _stock(*items: dict[str, Any], not_found: tuple[str, ...] = ()) -> bytes:
    answer = {"items": items, "not_found": not_found, "timestamp": NOW}
    return json.dumps(answer).encode()


def test_a_right_answer_passes_also_with_fields_that_are_new() -> None:
    body = _stock(_item(new_field=1), _item("TV-2", quantity=0, status="out_of_stock"))
    found = answers.stock(body, ["TV-1", "TV-2", "TV-1"], all_known=True)
    assert [each.version for each in found] == [3, 3]


@pytest.mark.parametrize(
    "changed",
    [
        {"quantity": -1},
        {"quantity": 7.5},
        {"quantity": "7"},
        {"quantity": 11},
        {"quantity": 0},
        {"status": "in_stock"},
        {"status": "plenty"},
        {"updated_at": "2026-01-02T03:04:05"},
        {"updated_at": "yesterday"},
        {"version": 0},
        {"version": None},
        {"product_id": "TV-9"},
    ],
)
def test_an_item_that_breaks_the_contract_is_told(changed: dict[str, Any]) -> None:
    with pytest.raises(WrongAnswerError):
        answers.stock(_stock({**_item(), **changed}), ["TV-1"], all_known=True)


def test_a_product_that_is_left_out_or_wrongly_missing_is_told() -> None:
    with pytest.raises(WrongAnswerError, match="not those that were asked for"):
        answers.stock(_stock(_item()), ["TV-1", "TV-2"], all_known=True)
    body = _stock(_item(), not_found=("TV-2",))
    with pytest.raises(WrongAnswerError, match="TV-2"):
        answers.stock(body, ["TV-1", "TV-2"], all_known=True)
    assert len(answers.stock(body, ["TV-1", "TV-2"], all_known=False)) == 1


def test_the_same_error_is_told_alike_each_time() -> None:
    bodies = [
        b'{"code":"BAD_GATEWAY","message":"Away","request_id":"%d"}' % number for number in (1, 2)
    ]
    assert [answers.told(each) for each in bodies] == ["BAD_GATEWAY: Away"] * 2
    assert answers.told(b"<html>") == "<html>"


def test_a_refusal_with_another_code_is_told() -> None:
    body = b'{"code":"RATE_LIMITED","message":"Wait","request_id":"abc"}'
    answers.refusal(body, "RATE_LIMITED")
    with pytest.raises(WrongAnswerError, match="not UNAUTHORIZED"):
        answers.refusal(body, "UNAUTHORIZED")
    with pytest.raises(WrongAnswerError):
        answers.refusal(b'{"message":"Wait"}', "RATE_LIMITED")
