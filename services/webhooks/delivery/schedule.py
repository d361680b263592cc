"""Delivery: when a delivery that failed is tried again (W7)."""

from datetime import timedelta

import msgspec

from services.core.settings import SettingsError

MAX_ATTEMPTS = 5  # of a series, in all
LONGEST_DELAY = 24 * 3600.0  # seconds; above it a mistyped unit is likelier than a wish
JITTER = 0.2  # of a delay, to either side: endpoints that failed together do not return together


class RetrySchedule(msgspec.Struct, frozen=True):
    """The delays between the attempts of a series, in seconds, before jitter."""

    delays: tuple[float, ...]

    @classmethod
    def of(cls, given: str) -> "RetrySchedule":
        """Read a schedule such as `5,30,120,600`. Raises SettingsError."""
        delays = _numbers(given)
        if not 1 <= len(delays) < MAX_ATTEMPTS:
            msg = f"give 1 to {MAX_ATTEMPTS - 1} delays: there are {MAX_ATTEMPTS} attempts"
            raise _fault(msg)
        if not all(before < after for before, after in zip((0.0, *delays), delays, strict=False)):
            msg = "each delay must be longer than the one before it, and above 0"
            raise _fault(msg)
        if delays[-1] > LONGEST_DELAY:
            msg = f"the longest delay allowed is {LONGEST_DELAY:.0f} seconds"
            raise _fault(msg)
        return cls(delays)

    def delay(self, attempts_made: int, chance: float) -> timedelta:
        """Return how long to wait after the attempts made so far (1 or more).

        `chance` (0 to below 1) places the delay between 0.8 and 1.2 of its base. The last base
        serves again when there are more attempts than delays.
        """
        base = self.delays[min(attempts_made, len(self.delays)) - 1]
        return timedelta(seconds=base * (1 - JITTER + 2 * JITTER * chance))


def _numbers(given: str) -> tuple[float, ...]:
    try:
        return tuple(float(each) for each in given.split(","))
    except ValueError as exc:
        msg = "give seconds, separated by commas"
        raise _fault(msg) from exc


def _fault(what: str) -> SettingsError:
    return SettingsError(f"the environment does not fit:\nRETRY_DELAYS_SECONDS: {what}")
