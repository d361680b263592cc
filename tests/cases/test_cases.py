"""Cases: some that Schemathesis makes of the contract; `make contract` has over 2,000."""

from collections.abc import Generator
from pathlib import Path

import pytest

from loadtests.plan import Target
from loadtests.site import own_stack
from tests.cases.running import CONTRACT, run_cases

INVENTORY = "/partner/v1/inventory"
STATUS = "'299':\n          $ref: '#/components/responses/Inventory'"


@pytest.fixture(scope="module")
def target() -> Generator[Target]:
    with own_stack() as site:
        yield site.target


@pytest.mark.long
def test_every_operation_answers_as_the_contract_says(target: Target, tmp_path: Path) -> None:
    cases = run_cases(
        target, "sandbox", tmp_path, seed=1, examples=3, phases="examples,fuzzing,stateful"
    )
    assert not cases.failures, cases.output
    assert cases.generated >= 100


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("[items, not_found, timestamp]", "[items, not_found, at]", "violates schema"),
        ("'200':\n          $ref: '#/components/responses/Inventory'", STATUS, "Undocumented"),
    ],
    ids=["a field", "a status"],
)
def test_an_answer_that_is_not_what_the_contract_says_is_found(
    target: Target, tmp_path: Path, right: str, wrong: str, told: str
) -> None:
    text = CONTRACT.read_text()
    assert right in text
    altered = tmp_path / "altered.yaml"
    altered.write_text(text.replace(right, wrong))
    cases = run_cases(
        *(target, "live", tmp_path),
        seed=1,
        examples=2,
        document=altered,
        paths=[INVENTORY],
        phases="examples",
    )
    assert told in " ".join(cases.failures), cases.output
