"""Gateway load: what a partner sees through the gateway at 100 concurrent users (README's figures).

Run as `make bench`. It starts a stack of its own, takes turns between 3 and 100 ids, and prints the
median round. All of it shares this machine's cores: gateway, query service, PostgreSQL, Valkey and
these users. Exit code 1 when P95 is not below 200 ms (Q6) or any request failed.
"""

import argparse
import asyncio
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load import Seen, query_load
from services.embedded.children import port_is_free
from services.embedded.plan import OFFSETS
from services.embedded.state import StateFolder
from services.kernel.environments import Environment
from services.kernel.schema.seed import products

USERS = 100
BATCHES = (3, 100)
P95_BELOW_MS = 200.0  # Q6
WARM_UP = 2.0  # seconds


@contextmanager
def own_stack() -> Generator[tuple[str, str]]:
    """Run a stack for the length of a with block; yield its query URL and a key without a limit."""
    with tempfile.TemporaryDirectory() as folder:
        state = str(Path(folder) / "state")
        base = str(free_base())
        command = [sys.executable, "-m", "services.cli"]
        subprocess.run(
            [*command, "up", "--detach", "--state-dir", state, "--port-base", base],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        try:
            key = StateFolder(Path(state)).keys()["qa"][Environment.LIVE]
            yield f"http://127.0.0.1:{base}/partner/v1/inventory", key
        finally:
            subprocess.run([*command, "down", "--state-dir", state], check=True)


def free_base() -> int:
    """Return a port base of which every port is free just now."""
    chance = random.SystemRandom()
    while True:
        base = chance.randrange(20_000, 32_000)
        if all(port_is_free(base + offset) for offset in OFFSETS.values()):
            return base


def run_rounds(url: str, key: str, *, rounds: int, seconds: float) -> dict[int, list[Seen]]:
    """Take turns between the batch sizes, so that a slow minute of the machine hits both."""
    listing = [product_id for product_id, _ in products(Environment.LIVE)]
    seen: dict[int, list[Seen]] = {ids: [] for ids in BATCHES}
    for ids in BATCHES:
        asyncio.run(query_load(url, key, listing, ids=ids, users=USERS, seconds=WARM_UP))
    for _ in range(rounds):
        for ids in BATCHES:
            load = query_load(url, key, listing, ids=ids, users=USERS, seconds=seconds)
            seen[ids].append(asyncio.run(load))
    return seen


def report(seen: dict[int, list[Seen]]) -> bool:
    """Print the medians; return whether they are good enough."""
    cores = len(os.sched_getaffinity(0))
    print(f"{machine()}, {cores} cores for everything; Python {platform.python_version()}")
    print(f"{USERS} users through the embedded gateway, median of {len(seen[3])} rounds\n")
    print(f"{'ids':>4}  {'requests/s':>10}  {'P50':>7}  {'P95':>7}  {'P99':>7}  {'failed':>6}")
    good = True
    for ids, rounds in seen.items():
        p50, p95, p99 = (
            statistics.median(each.percentile(share) for each in rounds)
            for share in (0.50, 0.95, 0.99)
        )
        rate = statistics.median(each.rate for each in rounds)
        failed = sum(each.statuses.total() - each.statuses[200] for each in rounds)
        print(
            f"{ids:>4}  {rate:>10,.0f}  {p50:>4.0f} ms  {p95:>4.0f} ms  {p99:>4.0f} ms  {failed:>6}"
        )
        good = good and p95 < P95_BELOW_MS and failed == 0
    print(f"\nP95 below {P95_BELOW_MS:.0f} ms and no failures: {'yes' if good else 'NO'}")
    return good


def machine() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    """Measure and exit with the verdict."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of one round")
    arguments = parser.parse_args()
    with own_stack() as (url, key):
        seen = run_rounds(url, key, rounds=arguments.rounds, seconds=arguments.seconds)
    sys.exit(0 if report(seen) else 1)


if __name__ == "__main__":
    main()
