"""Rolling: every service of compose.yaml restarted in turn under QA's load: `make rolling`.

Exit code 1 when the kit's verdict is not PASS, or a service had to be killed. No request may fail
and no event be lost, so the thresholds are QA's own.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.core.environments import Environment
from tests.production.hosting import REPOSITORY
from tests.production.site import Site, running_site
from tools.waiting import wait_for

# As docs/deployment.md tells it: one at a time; stores and the load balancer stay.
ORDER = (
    *("query-1", "query-2", "internal-1", "internal-2", "webhooks-1", "webhooks-2"),
    *("relay", "scheduler", "worker", "slow-worker"),
    *("sandbox-query-1", "sandbox-query-2", "sandbox-webhooks-1", "sandbox-webhooks-2"),
    *("sandbox-relay", "sandbox-scheduler", "sandbox-worker", "sandbox-slow-worker"),
    *("admin", "admin-2", "kong-1", "kong-2"),
)
# What docs/deployment.md says to type between two that the load balancer chooses from.
ALL_READY = REPOSITORY / "deploy" / "haproxy" / "all-ready.sh"
BEGUN_WITHIN = 60.0  # seconds
LOAD_ENDS_WITHIN = 200.0  # seconds after the last restart


@dataclass(frozen=True)
class Rolled:
    """What came of it."""

    verdict: str  # as the kit printed it
    exit_code: int  # the kit's
    seconds: dict[str, float]  # of each restart, until healthy again
    killed: list[str]  # services that did not end within their grace period

    @property
    def good(self) -> bool:
        """Say whether nobody noticed anything."""
        return self.exit_code == 0 and not self.killed


def roll(
    site: Site, folder: Path, *, profile: str, seconds: float, order: Sequence[str] = ORDER
) -> Rolled:
    """Restart services in turn while a profile's load runs; its full load lasts `seconds`."""
    command: list[str | Path] = [sys.executable, "-m", "loadtests", "--profile", profile]
    command += ["--seconds", str(seconds), "--out", folder]
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **_told(site, folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as load:
        try:
            _wait_for_load(load, folder / "samples.jsonl")
            took, killed = _restart(site, order)
            assert load.poll() is None, f"the load ended before the last restart: {took}"
            printed, _ = load.communicate(timeout=seconds + LOAD_ENDS_WITHIN)
        finally:
            if load.poll() is None:
                load.terminate()
    return Rolled(printed, load.returncode, took, killed)


def _told(site: Site, folder: Path) -> dict[str, str]:
    """Return what the kit is told of a gateway that is not its own."""
    live, sandbox = Environment.LIVE, Environment.SANDBOX
    listing = folder / "products.txt"
    listing.write_text("\n".join(site.products) + "\n")
    return {
        "HOST": site.gateway,
        "API_KEY": site.keys["qa"][live],
        "SANDBOX_API_KEY": site.keys["qa"][sandbox],
        "SECOND_SANDBOX_API_KEY": site.keys["techmart"][sandbox],
        "OVER_LIMIT_KEY": site.keys["demo-basic"][live],
        "INTERNAL_URL": site.internal,
        "PRODUCT_IDS": str(listing),
    }


def _wait_for_load(load: subprocess.Popen[str], samples: Path) -> None:
    def has_begun() -> bool:
        assert load.poll() is None, load.communicate()[0]
        return samples.exists() and samples.stat().st_size >= 10_000

    wait_for(has_begun, "load", BEGUN_WITHIN, every=0.2)


def _restart(site: Site, order: Sequence[str]) -> tuple[dict[str, float], list[str]]:
    took: dict[str, float] = {}
    killed: list[str] = []
    for name in order:
        began = time.monotonic()
        if site.hosting.restart(name) < 0:
            killed.append(name)
        if name.startswith(("kong-", "internal-")):
            address = site.hosting.network.of_service("load-balancer")
            subprocess.run([ALL_READY, address], check=True, capture_output=True)
        took[name] = time.monotonic() - began
    return took, killed


def main() -> None:
    """Run the acceptance profile over restarts of everything."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path("build/rolling").absolute()
        out.mkdir(parents=True, exist_ok=True)
        (out / "samples.jsonl").unlink(missing_ok=True)
        with running_site(Path(folder)) as site:
            rolled = roll(site, out, profile="acceptance", seconds=120)
    print(rolled.verdict)
    for name, seconds in rolled.seconds.items():
        print(f"{name:<22}{seconds:5.1f} s")
    print(f"{len(rolled.seconds)} restarts; had to be killed: {', '.join(rolled.killed) or 'none'}")
    sys.exit(not rolled.good)


if __name__ == "__main__":
    main()
