"""Verdict: what fails a build, what does not, and when the load generator is to blame."""

from dataclasses import replace

import msgspec
import pytest

from loadtests.measures import Health, measure
from loadtests.verdict import Result, Verdict, Word, judge, table
from tests.loadtests.made_runs import WELL, good_run, shipped_thresholds

BUSY = replace(WELL, cpu_percent=97.0)
LATE = replace(WELL, lag_p95_ms=80.0)


def _judged(health: Health = WELL, **measured: float | None) -> Verdict:
    return judge(measure(good_run()) | measured, shipped_thresholds(), health)


def test_a_good_run_passes() -> None:
    verdict = _judged()
    assert (verdict.word, verdict.exit_code, verdict.reasons) == (Word.PASS, 0, [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("partner_p95_ms", 200.0),
        ("internal_p95_ms", 210.0),
        ("errors", 1.0),
        ("outage_errors", 1.0),
        ("wrong_answers", 1.0),
        ("over_limit_extra", 1.0),
        ("staleness_p99_s", 1.1),
        ("staleness_max_s", 31.0),
        ("delivered_percent", 99.9999),
        ("webhook_p95_s", 5.1),
        ("bad_deliveries", 1.0),
        ("samples_at_least", 199.0),
    ],
)
def test_each_threshold_alone_fails_a_build_and_is_the_reason(name: str, value: float) -> None:
    verdict = _judged(WELL, **{name: value})
    assert (verdict.word, verdict.exit_code) == (Word.FAIL, 1)
    (failed,) = [each for each in verdict.rows if each.result is Result.FAIL]
    assert failed.name == name
    (reason,) = verdict.reasons
    assert reason.startswith(failed.says)


def test_nearly_all_delivered_is_not_told_as_100_percent() -> None:
    verdict = _judged(delivered_percent=99.99999)
    assert "100" not in verdict.reasons[0].split(":")[1].split(",")[0]


@pytest.mark.parametrize("health", [BUSY, LATE, Health(None, None)])
def test_a_slow_run_of_a_generator_at_its_limit_does_not_blame_the_build(health: Health) -> None:
    verdict = _judged(health, partner_p95_ms=900.0)
    assert (verdict.word, verdict.exit_code) == (Word.INVALID, 2)
    assert verdict.reasons[0].startswith("the load generator was the limit")


def test_a_generator_without_processor_time_left_did_not_make_the_load_that_was_asked_for() -> None:
    assert _judged(BUSY).word is Word.INVALID


def test_a_late_event_loop_makes_less_load_than_asked_for_so_nothing_is_passed() -> None:
    verdict = _judged(LATE)
    assert verdict.word is Word.INVALID
    assert verdict.reasons[0].startswith("the load generator was the limit: its event loop")


@pytest.mark.parametrize("name", ["wrong_answers", "bad_deliveries", "over_limit_extra"])
def test_a_wrong_answer_is_the_builds_whatever_the_generator_did(name: str) -> None:
    assert _judged(BUSY, **{name: 1.0}).word is Word.FAIL


def test_what_was_not_measured_fails_nothing_and_is_told() -> None:
    verdict = _judged(delivered_percent=None)
    assert verdict.word is Word.PASS
    assert any("not measured" in each for each in verdict.notes)


def test_a_stress_run_may_drive_the_generator_to_its_limit() -> None:
    measured = measure(good_run()) | {"knee_users_at_least": 200.0}
    limits = shipped_thresholds().limits | {"knee_users_at_least": 100.0}
    thresholds = msgspec.structs.replace(shipped_thresholds(), limits=limits)
    carried = judge(measured, thresholds, BUSY, until_it_breaks=True)
    assert carried.word is Word.PASS
    too_few = measured | {"knee_users_at_least": 50.0}
    assert judge(too_few, thresholds, BUSY, until_it_breaks=True).word is Word.INVALID
    assert judge(too_few, thresholds, WELL, until_it_breaks=True).word is Word.FAIL


def test_the_table_has_every_threshold_its_limit_and_the_word() -> None:
    printed = table(_judged(errors=3.0))
    line = next(each for each in printed.splitlines() if "without a right answer" in each)
    assert line.split()[-5:] == ["at", "most", "0", "3", "FAIL"]
    assert "\nFAIL:\n" in printed
    assert "load generator: 12 % of a core" in printed
