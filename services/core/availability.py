"""Core: tell once that a server is away, and once that it is back."""

from collections.abc import Callable

import structlog

QUIET = 1.0  # seconds without a failure before a dependency counts as back

log = structlog.get_logger()


class Availability:
    """One dependency's state as its callers see it."""

    def __init__(self, name: str, *, clock: Callable[[], float], part: str = "") -> None:
        """Take the name for events (`cache` gives `cache.away`) and a monotonic clock (seconds)."""
        self._name = name
        self._away, self._back = f"{name}.away", f"{name}.back"
        self._clock = clock
        self._told = {"part": part} if part else {}
        self._away_since: float | None = None
        self._last_failure = 0.0

    def of_part(self, part: str) -> "Availability":
        """Return the state of one of several servers; its events say which."""
        return Availability(self._name, clock=self._clock, part=part)

    def failed(self, reason: BaseException) -> None:
        """Note that a call failed."""
        now = self._clock()
        self._last_failure = now
        if self._away_since is None:
            self._away_since = now
            log.warning(self._away, reason=f"{type(reason).__name__}: {reason}", **self._told)

    def succeeded(self) -> None:
        """Note that a call went well; cheap while all is well."""
        if self._away_since is None:
            return
        now = self._clock()
        if now - self._last_failure >= QUIET:
            seconds = round(now - self._away_since, 1)
            log.warning(self._back, away_seconds=seconds, **self._told)
            self._away_since = None
