"""Made runs: records as a run leaves them, for tests of what is made of them."""

from loadtests.changing import Change
from loadtests.hooks import Delivered
from loadtests.measures import Health, Run, Window
from loadtests.memory import Held
from loadtests.records import Generator, Outcome, Request, Seen
from loadtests.report import About
from loadtests.thresholds import THRESHOLDS, Thresholds, load_thresholds

START = 1_700_000_080.0  # 40 seconds into a calendar minute
WELL = Health(cpu_percent=12.0, lag_p95_ms=1.5)
PROFILES = ["smoke", "acceptance", "peak", "stress", "soak"]
ABOUT = About("smoke", "A few users.", "", "http://127.0.0.1:8000", "2026-01-02T03:04:05", 20, {})


def shipped_thresholds() -> Thresholds:
    """Return what applies to the smoke profile."""
    return load_thresholds(THRESHOLDS, "smoke", None, PROFILES)


def good_request(at: float, seconds: float = 0.01, scenario: str = "product-page") -> Request:
    """Return a request that was answered; `at` is in seconds from the start."""
    return Request(START + at, seconds, scenario, 200, Outcome.OK)


def good_run() -> Run:
    """Return a run of 15 seconds with nothing wrong in it."""
    run = Run(Window(START, START + 2, START + 12))
    for number in range(300):
        run.requests.append(good_request(number / 20))
        run.requests.append(good_request(number / 20, scenario="internal-read"))
    limited = Request(START + 3, 0.002, "over-limit", 429, Outcome.LIMITED, "60")
    run.requests.append(limited)
    run.generator = [Generator(START + second, 0.1, [0.001] * 20, 10) for second in range(15)]
    run.changes = [Change("sandbox", "QA-LOAD-000", 7, START + 3, START + 3.01)]
    run.seen = [Seen(START + 4, "sandbox", [("QA-LOAD-000", 7)])]
    run.held = [Held(START + second, "query-live", 80.0) for second in range(15)]
    run.delivered = Delivered(3, [], 0, [(START + 3, 0.1)] * 3, [])
    return run
