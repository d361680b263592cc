"""Thresholds: the file that QA edits; a slip is told with its line."""

from pathlib import Path

import pytest

from loadtests.faults import Fault
from loadtests.plan import CouldNotRunError, load_profiles
from loadtests.thresholds import NAMES, THRESHOLDS, load_thresholds

PROFILES = list(load_profiles())


def _edited(folder: Path, old: str, new: str) -> tuple[Path, int]:
    """Return a copy of the file with one place changed, and the line of it."""
    text = THRESHOLDS.read_text()
    assert old in text
    path = folder / "thresholds.toml"
    path.write_text(text.replace(old, new, 1))
    return path, text[: text.index(old)].count("\n") + 1


def test_the_file_has_a_limit_for_every_profile_and_fault() -> None:
    for profile in PROFILES:
        for fault in (None, *Fault):
            found = load_thresholds(THRESHOLDS, profile, fault, PROFILES)
            assert set(found.limits) == set(NAMES)


def test_a_fault_goes_before_a_profile_and_a_profile_before_the_rest() -> None:
    plain = load_thresholds(THRESHOLDS, "smoke", None, PROFILES)
    acceptance = load_thresholds(THRESHOLDS, "acceptance", None, PROFILES)
    killed = load_thresholds(THRESHOLDS, "acceptance", Fault.VALKEY_KILLED, PROFILES)
    assert plain.limits["samples_at_least"] == 200
    assert acceptance.limits["samples_at_least"] == killed.limits["samples_at_least"] == 5000
    assert (acceptance.limits["webhook_p95_s"], killed.limits["webhook_p95_s"]) == (5, 30)


def test_the_requirements_are_what_the_file_has() -> None:
    limits = load_thresholds(THRESHOLDS, "acceptance", None, PROFILES).limits
    expected = {
        "partner_p95_ms": 200,
        "errors": 0,
        "delivered_percent": 100,
        "webhook_p95_s": 5,
        "staleness_p99_s": 1,
        "staleness_max_s": 30,
    }
    assert {name: limits[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("partner_p95_ms = 200 ", "partner_p59_ms = 200 ", "partner_p59_ms is no threshold"),
        ("partner_p95_ms = 200 ", 'partner_p95_ms = "200" ', "must be a number from 0, or false"),
        ("partner_p95_ms = 200 ", "partner_p95_ms = false ", "stress needs it"),
        ("webhook_p95_s = 5 ", "webhook_p95_s = -5 ", "webhook_p95_s must be a number"),
        ("errors = 0 ", "errors = true ", "errors must be a number"),
        ("errors = 0 ", "errors = nan ", "errors must be a number"),
        ("samples_at_least = 5000", "sample_at_least = 5000", "sample_at_least is no threshold"),
        ("[profile.peak]", "[profile.peek]", "peek is no profile"),
        ("[fault.hanging-webhook]", "[fault.hanging]", "hanging is no fault"),
        ("cpu_percent = 90", "cpu = 90", "cpu is not known here"),
        ("lag_p95_ms = 50", "lag_p95_ms = false", "lag_p95_ms must be a number from 0"),
        ("gateway-restarted = 10", 'gateway-restarted = "10"', "gateway-restarted must be"),
        ("[generator]", "[genrator]", "genrator is no table"),
    ],
)
def test_a_slip_is_told_with_its_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    path, line = _edited(tmp_path, old, new)
    with pytest.raises(CouldNotRunError) as caught:
        load_thresholds(path, "smoke", None, PROFILES)
    assert str(caught.value).startswith(f"thresholds.toml, line {line}: ")
    assert told in str(caught.value)


def test_a_threshold_that_was_removed_is_told(tmp_path: Path) -> None:
    path, _ = _edited(tmp_path, "bad_deliveries = 0 ", "# ")
    with pytest.raises(CouldNotRunError, match="lacks bad_deliveries"):
        load_thresholds(path, "smoke", None, PROFILES)


def test_what_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    path, line = _edited(tmp_path, "errors = 0 ", "errors 0 ")
    with pytest.raises(CouldNotRunError, match=f"line {line}"):
        load_thresholds(path, "smoke", None, PROFILES)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CouldNotRunError, match="No such file"):
        load_thresholds(tmp_path / "none.toml", "smoke", None, PROFILES)
