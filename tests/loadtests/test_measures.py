"""Measures: percentiles, staleness, limits and errors, as a person would count them."""

import math
import re
from pathlib import Path

import pytest

from loadtests import plan
from loadtests.changing import Change
from loadtests.hooks import ENDPOINTS, compare
from loadtests.measures import (
    Window,
    health,
    measure,
    memory_growth,
    over_limit_extra,
    staleness,
)
from loadtests.memory import Held
from loadtests.plan import load_profiles
from loadtests.records import Generator, Outcome, Request, Seen
from loadtests.stress import knee, steps, told
from tests.loadtests.made_runs import START, good_request, good_run
from tools.percentile import percentile
from tools.receiver import Receipt


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7.0], 0.95, 7.0),
        ([float(each) for each in range(1, 101)], 0.95, 95.0),
        ([float(each) for each in range(1, 101)], 0.99, 99.0),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([1.0, 2.0], 1.0, 2.0),
        ([1.0, 2.0], 0.0, 1.0),
        ([], 0.95, None),
    ],
)
def test_a_percentile_is_a_value_that_was_measured(
    values: list[float], share: float, expected: float | None
) -> None:
    assert percentile(values, share) == expected


def test_only_good_answers_of_full_load_count_for_the_p95() -> None:
    run = good_run()
    slow = [good_request(1, 5.0), good_request(13, 5.0)]  # users are coming, and going
    run.requests += slow * 200
    run.requests += [Request(START + 5, 9.0, "product-page", 0, Outcome.ERROR)] * 200
    assert measure(run)["partner_p95_ms"] == pytest.approx(10)


@pytest.mark.parametrize(("later", "drift"), [(0.05, 40), (0.01, 0), (0.004, -6)])
def test_drift_is_what_the_last_fifth_takes_longer_than_the_first(
    later: float, drift: float
) -> None:
    run = good_run()  # of full load from 2 to 12, 10 ms each
    run.requests = [each for each in run.requests if each.at < START + 10]
    run.requests += [good_request(10 + number / 50, later) for number in range(100)]
    run.requests += [good_request(12 + number / 50, 9.0) for number in range(100)]  # users go
    assert measure(run)["p95_drift_ms"] == pytest.approx(drift)


def test_memory_grows_from_the_first_fifth_to_the_last() -> None:
    run = good_run()
    times = [number / 4 for number in range(60)]
    run.held = [
        *(Held(START + at, "query", 80 + at) for at in times),
        *(Held(START + at, "relay", 900 if at == 3 else 90) for at in times),  # a peak
        *(Held(START + at, "worker", 70 - at) for at in times),
        Held(START + 3, "restarted", 10),
    ]
    assert memory_growth(run) == {"query": 8, "relay": 0, "worker": -8}
    assert measure(run)["memory_growth_mb"] == 8


def test_without_a_stack_memory_is_not_measured() -> None:
    run = good_run()
    run.held = []
    assert measure(run)["memory_growth_mb"] is None


def test_right_429s_and_401s_are_no_errors() -> None:
    run = good_run()
    run.requests += [Request(START + 5, 0.01, "wrong-key", 401, Outcome.REFUSED)] * 30
    run.requests += [Request(START + 5, 0.01, "over-limit", 429, Outcome.LIMITED, "60")] * 30
    assert measure(run)["errors"] == 0


def test_errors_of_a_fault_are_counted_apart_until_its_time_is_over() -> None:
    run = good_run()
    run.window = Window(START, START + 2, START + 12, START + 5, START + 8)

    def error(at: float) -> Request:
        return Request(START + at, 0.2, "product-page", 0, Outcome.ERROR)

    under_way = error(4.9)  # it ended after the fault came
    run.requests += [error(3), under_way, error(6), error(7.9), error(8.1)]
    measured = measure(run)
    assert (measured["errors"], measured["outage_errors"]) == (2, 3)


def test_a_change_that_every_later_answer_shows_was_never_missed() -> None:
    changes = [Change("live", "TV-1", 5, START, START + 0.01)]
    assert staleness(changes, [Seen(START + 1, "live", [("TV-1", 5)])]) == [0.0]
    assert staleness(changes, [Seen(START + 1, "live", [("TV-1", 6)])]) == [0.0]


def test_staleness_is_how_long_after_its_confirmation_a_change_was_still_missed() -> None:
    changes = [
        Change("live", "TV-1", 5, START, START + 1),
        Change("live", "TV-1", 6, START + 3, START + 4),
    ]
    seen = [
        Seen(START + 3, "live", [("TV-1", 4)]),
        Seen(START + 4.5, "live", [("TV-1", 5)]),
        Seen(START + 9, "live", [("TV-1", 6)]),
    ]
    assert sorted(staleness(changes, seen)) == [0.5, 2.0]


def test_an_answer_to_a_question_from_before_the_confirmation_shows_nothing() -> None:
    changes = [Change("live", "TV-1", 5, START, START + 1)]
    assert staleness(changes, [Seen(START + 0.9, "live", [("TV-1", 4)])]) == []


def test_the_same_product_of_another_environment_is_another_product() -> None:
    changes = [Change("live", "TV-1", 5, START, START + 1)]
    assert staleness(changes, [Seen(START + 3, "sandbox", [("TV-1", 4)])]) == []


def test_requests_let_through_beyond_a_limit_are_counted_by_calendar_minute() -> None:
    def through(second: float) -> Request:
        return Request(START + second, 0.01, "over-limit", 200, Outcome.OK, "60")

    first, second = [through(each / 10) for each in range(60)], [through(21)] * 60
    assert over_limit_extra([*first, *second]) == 0
    assert over_limit_extra([*first, *second, through(22), through(23)]) == 2
    at_the_edge = [Request(START + 19.995, 0.01, "over-limit", 200, Outcome.OK, "60")] * 5
    assert over_limit_extra([*first, *at_the_edge]) == 0


def test_what_was_not_done_is_not_measured() -> None:
    run = good_run()
    run.delivered, run.changes = None, []
    measured = measure(run)
    for name in ("delivered_percent", "webhook_p95_s", "staleness_p99_s", "bad_deliveries"):
        assert measured[name] is None, name


def _receipt(endpoint: int, version: int, at: float, signature: int = 0) -> Receipt:
    return Receipt(
        endpoint,
        "0190",
        "inventory.updated",
        "QA-1",
        version,
        20,
        0,
        at,
        204,
        signature,
        [0],
        "",
    )


def test_a_change_that_one_webhook_did_not_get_is_told() -> None:
    changes = [Change("sandbox", "QA-1", 3, START, START + 0.01)]
    receipts = [_receipt(each, 3, START + 0.5) for each in range(ENDPOINTS - 1)]
    found = compare(changes, receipts)
    assert (found.expected, found.missed) == (ENDPOINTS, 1)
    assert found.missing == [f"QA-1 version 3, webhook {ENDPOINTS - 1}"]


def test_a_webhook_that_came_twice_counts_from_its_first_arrival() -> None:
    changes = [Change("sandbox", "QA-1", 3, START, START + 0.01)]
    receipts = [_receipt(each, 3, START + 2) for each in range(ENDPOINTS)]
    receipts += [_receipt(each, 3, START + 0.5) for each in range(ENDPOINTS)]
    assert compare(changes, receipts).latencies == [(START, 0.5)] * ENDPOINTS


def test_a_wrong_signature_is_told() -> None:
    (told,) = compare([], [_receipt(0, 3, START, signature=-1)]).bad
    assert "X-Signature" in told


def test_the_generator_is_looked_at_in_full_load_only() -> None:
    run = good_run()
    run.generator += [Generator(START + 1, 1.0, [5.0] * 900, 1)]
    found = health(run)
    assert found.cpu_percent == pytest.approx(10)
    assert found.lag_p95_ms == pytest.approx(1)


def test_the_knee_is_the_last_step_before_the_first_that_is_too_slow() -> None:
    profile = load_profiles()["stress"]
    run = good_run()
    run.requests = []
    for number in range(len(profile.steps)):
        slow = number in (2, 4)  # that a later step was fast again does not help
        middle = (number + 0.5) * profile.step_s
        run.requests += [good_request(middle, 0.3 if slow else 0.05)] * 30
    found = steps(run, profile)
    assert knee(found, 200.0) == profile.steps[1]
    assert told(found, 200.0) == f"{profile.steps[2]} users were too many: P95 300 ms, 0 errors"
    assert "the knee is above" in told(found, 400.0)


def test_the_scenarios_that_profiles_may_name_are_those_that_there_are(tmp_path: Path) -> None:
    written = Path(plan.__file__).with_name("scenarios.py").read_text()
    assert set(re.findall(r'^    scenario = "(.+)"$', written, re.MULTILINE)) == set(plan.SCENARIOS)
    path = tmp_path / "profiles.toml"
    path.write_text(plan.PROFILES.read_text().replace("wrong-key = 1", "wrong-keys = 1", 1))
    with pytest.raises(plan.CouldNotRunError, match=r"\[smoke.mix\]: wrong-keys is no scenario"):
        load_profiles(path)


def test_every_profile_ends_and_reaches_all_its_users() -> None:
    for name, profile in load_profiles().items():
        seconds = range(math.ceil(profile.seconds) + 1)
        counts = [profile.users_at(float(second)) for second in seconds]
        assert counts[-1] is None, name
        assert max(each or 0 for each in counts) == profile.users, name
    assert load_profiles()["acceptance"].users == 100
    assert load_profiles()["smoke"].seconds == 20


def test_latencies_of_an_outage_do_not_count_but_those_of_a_fault_without_one_do() -> None:
    run = good_run()
    run.requests += [good_request(6, 3.0)] * 300
    run.window = Window(START, START + 2, START + 12, START + 5, START + 8)
    assert measure(run)["partner_p95_ms"] == pytest.approx(10)
    run.window = Window(START, START + 2, START + 12, START + 5, START + 5)
    assert measure(run)["partner_p95_ms"] == pytest.approx(3000)
