"""Core: tasks beside the requests go on after a failure, which is logged and counted (D4)."""

import contextlib
from collections.abc import Generator

import structlog
from prometheus_client import Counter

# Of the process: core/metrics.py shows it in every registry.
FAILURES = Counter(
    "background_failures", "Unexpected failures of tasks beside the requests.", registry=None
)

log = structlog.get_logger()


def note_failure(event: str, **facts: object) -> None:
    """Log and count the exception that is being handled, as one that nobody expected."""
    FAILURES.inc()
    log.exception(event, **facts)


@contextlib.contextmanager
def going_on(event: str) -> Generator[None]:
    """Log and count an exception of the with block; what follows the block is done all the same."""
    try:
        yield
    except Exception:  # noqa: BLE001 -- a task that ended would leave nobody to notice
        note_failure(event)
