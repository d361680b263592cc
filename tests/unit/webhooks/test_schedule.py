"""When a delivery is tried again (W7)."""

from datetime import timedelta

import pytest

from services.core.settings import SettingsError
from services.webhooks.delivery.schedule import MAX_ATTEMPTS, RetrySchedule

DEFAULT = RetrySchedule.of("5,30,120,600")


@pytest.mark.parametrize(("attempts", "base"), [(1, 5), (2, 30), (3, 120), (4, 600), (5, 600)])
def test_delays_grow_and_chance_spreads_them_by_a_fifth(attempts: int, base: float) -> None:
    assert DEFAULT.delay(attempts, 0.0) == timedelta(seconds=0.8 * base)
    assert DEFAULT.delay(attempts, 0.5) == timedelta(seconds=base)
    assert timedelta(seconds=1.199 * base) < DEFAULT.delay(attempts, 0.9999)
    assert DEFAULT.delay(attempts, 0.9999) < timedelta(seconds=1.2 * base)


def test_five_attempts_are_made_in_all() -> None:
    assert MAX_ATTEMPTS == 5


def test_a_short_schedule_repeats_its_last_delay() -> None:
    schedule = RetrySchedule.of(" 0.2, 0.4 ")
    assert schedule.delay(4, 0.5) == schedule.delay(2, 0.5) == timedelta(seconds=0.4)


@pytest.mark.parametrize(
    "given",
    [
        "1,2,3,4,5",
        "5,5",
        "30,5",
        "0,5",
        "-1",
        "",
        "5,",
        "1.2.3",
        "five",
        "nan",
        "5,nan",
        "inf",
        "86401",
    ],
)
def test_a_schedule_that_does_not_fit_is_named_as_a_faulty_setting(given: str) -> None:
    with pytest.raises(SettingsError, match="RETRY_DELAYS_SECONDS"):
        RetrySchedule.of(given)
