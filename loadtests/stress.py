"""Stress: find the knee: the last step of users that the build carries; pure."""

from dataclasses import dataclass

from loadtests.measures import PARTNER, Run, milliseconds
from loadtests.plan import Profile
from loadtests.records import Outcome
from tools.percentile import percentile

SETTLING = 3.0  # seconds at the beginning of a step that are not looked at: users come


@dataclass(frozen=True)
class Step:
    """One step of users, and what was seen."""

    users: int
    rate: float  # good partner requests per second
    p95_ms: float | None
    errors: int
    until: float  # seconds since 1970

    def carried(self, p95_below_ms: float) -> bool:
        """Say whether the build carried it."""
        return not self.errors and self.p95_ms is not None and self.p95_ms < p95_below_ms


def steps(run: Run, profile: Profile) -> list[Step]:
    """Return the steps of a stress run."""
    found: list[Step] = []
    for number, users in enumerate(profile.steps):
        start = run.window.start + number * profile.step_s + SETTLING
        end = run.window.start + (number + 1) * profile.step_s
        within = [each for each in run.requests if start <= each.at < end]
        good = [
            each.seconds
            for each in within
            if each.outcome is Outcome.OK and each.scenario in PARTNER
        ]
        errors = sum(each.outcome in (Outcome.ERROR, Outcome.WRONG) for each in within)
        p95 = milliseconds(percentile(good, 0.95))
        found.append(Step(users, len(good) / (end - start), p95, errors, end))
    return found


def told(found: list[Step], p95_below_ms: float) -> str:
    """Return in words where the knee is."""
    for each in found:
        if not each.carried(p95_below_ms):
            p95 = "no good answer" if each.p95_ms is None else f"P95 {each.p95_ms:.0f} ms"
            return f"{each.users} users were too many: {p95}, {each.errors} errors"
    return f"every step was carried: the knee is above {found[-1].users} users"


def knee(found: list[Step], p95_below_ms: float) -> int:
    """Return how many users were carried before the first step that was not; 0 for none."""
    carried = 0
    for each in found:
        if not each.carried(p95_below_ms):
            return carried
        carried = each.users
    return carried
