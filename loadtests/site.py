"""Site: what is under test: a stack of the run's own, one that runs, or any gateway."""

import contextlib
import ipaddress
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from loadtests.plan import CouldNotRunError, Target
from services.core.environments import Environment
from services.local.stack import free_port_base
from services.local.state import ProcessIdentity, StateFolder, is_alive, stack_environment
from services.schema.seed import products

COMMAND = [sys.executable, "-m", "services.cli"]
SANDBOX_ON_LOOPBACK = "sandbox-api.localhost"  # as gateway/kong.yml has it
BACK_WITHIN = 30.0  # seconds
NEEDED = "set API_KEY to a live key of tier qa (docs/load-testing.md tells how to make one)"


@dataclass(frozen=True)
class Site:
    """Where the load goes, and what else the run can do there."""

    target: Target
    products: list[str]
    all_known: bool  # whether every one of products is there
    stock_url: str = ""  # PostgreSQL, as admin; empty: live stock can't be changed
    state: Path | None = None  # of the stack; None: a foreign gateway, without faults

    @property
    def on_this_machine(self) -> bool:
        """Say whether a receiver on this machine can be called back."""
        return _is_loopback(urlsplit(self.target.host).hostname or "")

    def needs_state(self) -> Path:
        """Return the stack's state folder. Raises CouldNotRunError for a foreign gateway."""
        if self.state is None:
            msg = "faults are for a local stack: leave HOST away, or name its folder with --stack"
            raise CouldNotRunError(msg)
        return self.state

    def kill_and_wait(self, name: str, how: signal.Signals) -> None:
        """End a process of the stack; return when its supervisor has started it again."""
        folder = StateFolder(self.needs_state())
        before = _process(folder, name)
        if before is None:
            msg = f"the stack has no {name} that could be ended"
            raise CouldNotRunError(msg)
        os.kill(before.pid, how)
        deadline = time.monotonic() + BACK_WITHIN
        while (now := _process(folder, name)) is None or now == before or not is_alive(now):
            if time.monotonic() > deadline:
                msg = f"{name} was not back after {BACK_WITHIN:.0f} s"
                raise CouldNotRunError(msg)
            time.sleep(0.05)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _process(folder: StateFolder, name: str) -> ProcessIdentity | None:
    record = folder.running()
    child = record.children.get(name) if record else None
    return child.process if child else None


def foreign_site(environment: Mapping[str, str]) -> Site:
    """Return the gateway that HOST names. Raises CouldNotRunError."""
    host = environment["HOST"].rstrip("/")
    if not environment.get("API_KEY"):
        msg = f"HOST is set, API_KEY is not: {NEEDED}"
        raise CouldNotRunError(msg)
    name = urlsplit(host).hostname
    if urlsplit(host).scheme not in ("http", "https") or name is None:
        msg = f"HOST is {host!r}: it must be an address such as https://api.inventory.example"
        raise CouldNotRunError(msg)
    url, header = _sandbox(host, name)
    listing = environment.get("PRODUCT_IDS", "")
    target = Target(
        host,
        environment["API_KEY"],
        sandbox_url=environment.get("SANDBOX_HOST", "").rstrip("/") or url,
        sandbox_host="" if environment.get("SANDBOX_HOST") else header,
        sandbox_api_key=environment.get("SANDBOX_API_KEY", ""),
        second_sandbox_api_key=environment.get("SECOND_SANDBOX_API_KEY", ""),
        premium_key=environment.get("PREMIUM_KEY", environment["API_KEY"]),
        over_limit_key=environment.get("OVER_LIMIT_KEY", ""),
        internal_url=environment.get("INTERNAL_URL", "").rstrip("/"),
    )
    return Site(target, _listed(listing) if listing else _seeded(), all_known=bool(listing))


def _sandbox(host: str, name: str) -> tuple[str, str]:
    """Return the sandbox's address, and its Host header where the address is live's own."""
    if name.startswith("api."):
        return host.replace("//api.", "//sandbox-api.", 1), ""
    return host, SANDBOX_ON_LOOPBACK


def _listed(path: str) -> list[str]:
    try:
        ids = [line.strip() for line in Path(path).read_text().splitlines() if line.strip()]
    except OSError as exc:
        msg = f"PRODUCT_IDS: {path}: {exc.strerror}"
        raise CouldNotRunError(msg) from exc
    if len(ids) < 5:
        msg = f"PRODUCT_IDS: {path} has {len(ids)} ids; 5 are needed, 5,000 are good"
        raise CouldNotRunError(msg)
    return ids


def _seeded() -> list[str]:
    return [product_id for product_id, _ in products(Environment.LIVE)]


def stack_site(state: Path, host: str = "") -> Site:
    """Return the stack that runs in a state folder; `host` is a proxy in front of it."""
    folder, settings = StateFolder(state), stack_environment(state)
    record = folder.running()
    if record is None or settings is None:
        msg = f"no stack runs in {state}"
        raise CouldNotRunError(msg)
    keys = folder.keys()
    gateway = host.rstrip("/") or record.urls["gateway"]
    target = Target(
        gateway,
        keys["qa"][Environment.LIVE],
        sandbox_url=gateway,
        sandbox_host=SANDBOX_ON_LOOPBACK,
        sandbox_api_key=keys["qa"][Environment.SANDBOX],
        second_sandbox_api_key=keys["techmart"][Environment.SANDBOX],
        premium_key=keys["techmart"][Environment.LIVE],
        over_limit_key=keys["demo-basic"][Environment.LIVE],
        internal_url=record.urls["internal-live"],
    )
    return Site(target, _seeded(), True, settings["ADMIN_DATABASE_URL"], state)


@contextlib.contextmanager
def own_stack() -> Generator[Site]:
    """Run a stack for the length of a with block."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        base = str(free_port_base())
        start = [*COMMAND, "up", "--detach", "--state-dir", str(state), "--port-base", base]
        done = subprocess.run(start, capture_output=True, text=True, check=False)
        try:
            if done.returncode:
                msg = f"the local stack did not start: {done.stderr.strip() or done.stdout.strip()}"
                raise CouldNotRunError(msg)
            yield stack_site(state)
        finally:
            end = [*COMMAND, "down", "--state-dir", str(state)]
            subprocess.run(end, capture_output=True, check=False)


@contextlib.contextmanager
def chosen_site(environment: Mapping[str, str], stack: Path | None) -> Generator[Site]:
    """Yield what a run is to test."""
    if stack is not None:
        yield stack_site(stack, environment.get("HOST", ""))
    elif environment.get("HOST"):
        yield foreign_site(environment)
    else:
        with own_stack() as site:
            yield site


def without_scenarios(mix: Mapping[str, int], site: Site, hooks: bool) -> dict[str, str]:
    """Return which scenarios of a mix can't run here, and why."""
    target = site.target
    lacking = {
        "internal-read": "" if target.internal_url else "INTERNAL_URL is not set",
        "sandbox-read": "" if target.sandbox_api_key else "SANDBOX_API_KEY is not set",
        "over-limit": "" if target.over_limit_key else "OVER_LIMIT_KEY is not set",
        "subscriptions": "" if hooks else "no receiver that the gateway could call",
    }
    return {name: lacking[name] for name in mix if lacking.get(name)}


def with_mix(profile_mix: Mapping[str, int], left_out: Mapping[str, str]) -> dict[str, int]:
    """Return a mix without what can't run."""
    return {name: users for name, users in profile_mix.items() if name not in left_out}
