"""Plan: profiles out of profiles.toml, and what the locust process is told; pure."""

import tomllib
from pathlib import Path

import msgspec

from loadtests.faults import Fault

PROFILES = Path(__file__).parent / "profiles.toml"
# What loadtests/scenarios.py has, told here because its import starts locust; a test compares.
SCENARIOS = (
    "product-page",
    "hourly-sync",
    "delta-sync",
    "internal-read",
    "sandbox-read",
    "over-limit",
    "wrong-key",
    "subscriptions",
    "peak-arrivals",
)


class CouldNotRunError(Exception):
    """There is no verdict; the message is one line for the person who asked for it."""


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table of profiles.toml."""

    says: str
    mix: dict[str, int]
    think_s: float
    live_changes_per_s: float
    sandbox_changes_per_s: float
    ramp_s: float = 0.0
    hold_s: float = 0.0
    down_s: float = 0.0
    steps: list[int] = []  # users; a stress profile has these and step_s, and no ramp
    step_s: float = 0.0
    arrivals_per_minute: int = 0

    @property
    def users(self) -> int:
        """Return how many there are at full load."""
        return max(self.steps) if self.steps else sum(self.mix.values())

    @property
    def seconds(self) -> float:
        """Return how long it lasts."""
        return len(self.steps) * self.step_s if self.steps else self.full_until + self.down_s

    @property
    def full_until(self) -> float:
        """Return when full load ends, in seconds from the start."""
        return len(self.steps) * self.step_s if self.steps else self.ramp_s + self.hold_s

    def users_at(self, second: float) -> int | None:
        """Return how many users there are at a time; None when it is over."""
        if second >= self.seconds:
            return None
        if self.steps:
            return self.steps[int(second / self.step_s)]
        if second < self.ramp_s:
            return max(1, round(self.users * second / self.ramp_s))
        if second < self.full_until:
            return self.users
        return max(1, round(self.users * (self.seconds - second) / self.down_s))

    def lasting(self, hold_s: float) -> "Profile":
        """Return the same with another length of full load."""
        return msgspec.structs.replace(self, hold_s=hold_s)


class Target(msgspec.Struct, frozen=True):
    """Where the load goes, and with which keys; an empty one leaves its scenarios out."""

    host: str
    api_key: str
    sandbox_url: str = ""
    sandbox_host: str = ""  # the Host header, where the address does not tell the sandbox from live
    sandbox_api_key: str = ""
    second_sandbox_api_key: str = ""
    premium_key: str = ""
    over_limit_key: str = ""
    internal_url: str = ""

    def __repr__(self) -> str:
        """Leave the keys out."""
        return f"Target({self.host})"


class Plan(msgspec.Struct, frozen=True):
    """What the locust process is told."""

    profile: Profile
    target: Target
    samples: str  # path of the records
    products: list[str]  # live ids, most asked for first
    all_known: bool  # whether not_found would be wrong
    changing: dict[str, list[str]]  # environment -> ids that are being changed
    hook_url: str  # where subscriptions that come and go point to; empty: leave them out
    webhooks_before: dict[str, list[str]]  # key -> ids that it had before


def load_profiles(path: Path = PROFILES) -> dict[str, Profile]:
    """Return the profiles by name. Raises CouldNotRunError."""
    try:
        found = msgspec.convert(tomllib.loads(path.read_text()), dict[str, Profile])
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as exc:
        msg = f"{path.name}: {exc}"
        raise CouldNotRunError(msg) from exc
    for name, profile in found.items():
        for scenario in profile.mix:
            if scenario not in SCENARIOS:
                told = f"{scenario} is no scenario; there are {', '.join(SCENARIOS)}"
                msg = f"{path.name}: [{name}.mix]: {told}"
                raise CouldNotRunError(msg)
    return found


def fault_at(profile: Profile, fault: Fault | None) -> float | None:
    """Return when a fault comes, in seconds from the start: in the middle of full load."""
    return None if fault is None else (profile.ramp_s + profile.full_until) / 2
