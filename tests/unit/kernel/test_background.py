"""What runs beside the requests goes on after a failure that nobody expected."""

from structlog.testing import capture_logs

from services.core.background import going_on
from services.core.metrics import exposition, make_registry


def shown() -> float:
    lines = exposition(make_registry()).decode().splitlines()
    return float(
        next(line.split()[1] for line in lines if line.startswith("background_failures_t"))
    )


def test_a_failure_is_logged_and_counted_in_the_metrics_of_every_program() -> None:
    before = shown()
    with capture_logs() as logs:
        with going_on("something.failed"):
            raise KeyError
        with going_on("something.failed"):
            pass
    assert [(each["event"], each["log_level"]) for each in logs] == [("something.failed", "error")]
    assert shown() == before + 1
