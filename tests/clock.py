"""Clock: seconds that only a test moves."""

from dataclasses import dataclass


@dataclass
class Clock:
    """Call it for the time; set or add to `now` to move it."""

    now: float = 1_000.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now
