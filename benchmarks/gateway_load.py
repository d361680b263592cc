"""Gateway load: what a partner sees through the gateway, and what the gateway itself costs.

Run as `make bench-gateway`. It starts a stack of its own and takes turns between all cases, so that
a slow minute of the machine hits each; the median round is printed. Everything shares this
machine's cores: gateway, query service, PostgreSQL, Valkey and the users. Exit code 1 when P95 at
100 users through the gateway is not below 200 ms (Q6) or any request failed.
"""

import argparse
import asyncio
import itertools
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from benchmarks.load import Seen, Target, query_load
from services.core import headers
from services.core.environments import Environment
from services.local.plan import OFFSETS
from services.local.stack import free_port_base
from services.local.state import StateFolder
from services.schema.seed import products

USERS = (100, 1)
BATCHES = (3, 100)
GATEWAY, SERVICE = "gateway", "service alone"
P95_BELOW_MS = 200.0  # Q6
WARM_UP = 2.0  # seconds
PARTNER = "qa"  # its tier is never what is measured


class Case(NamedTuple):
    """One row of the table."""

    users: int
    ids: int
    target: str


@contextmanager
def own_stack() -> Generator[dict[str, Target]]:
    """Run a stack for the length of a with block; yield the two ways to its query service."""
    with tempfile.TemporaryDirectory() as folder:
        state, base = Path(folder) / "state", free_port_base()
        command = [sys.executable, "-m", "services.cli"]
        start = [*command, "up", "--detach", "--state-dir", state, "--port-base", str(base)]
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL)
        try:
            yield targets(StateFolder(state), base)
        finally:
            end = [*command, "down", "--state-dir", state]
            subprocess.run(end, check=True, stdout=subprocess.DEVNULL)


def targets(folder: StateFolder, base: int) -> dict[str, Target]:
    """Return the gateway, and the service as the gateway calls it."""
    secrets = folder.secrets()
    assert secrets is not None, "a stack that is up has its secrets"
    path = "/partner/v1/inventory"
    as_gateway = {
        headers.BACKEND_TOKEN: secrets.backend_token,
        headers.CONSUMER_CUSTOM_ID: Environment.LIVE.custom_id(PARTNER),
        headers.CREDENTIAL_IDENTIFIER: str(uuid4()),
    }
    key = {headers.API_KEY: folder.keys()[PARTNER][Environment.LIVE]}
    return {
        GATEWAY: Target(f"http://127.0.0.1:{base}{path}", key),
        SERVICE: Target(f"http://127.0.0.1:{base + OFFSETS['query-live']}{path}", as_gateway),
    }


def run_rounds(
    reached: dict[str, Target], *, rounds: int, seconds: float
) -> dict[Case, list[Seen]]:
    """Measure every case once a round, after a warm-up."""
    listing = [product_id for product_id, _ in products(Environment.LIVE)]
    cases = [Case(*each) for each in itertools.product(USERS, BATCHES, (GATEWAY, SERVICE))]
    seen: dict[Case, list[Seen]] = {case: [] for case in cases}
    for ids in BATCHES:
        load = query_load(reached[GATEWAY], listing, ids=ids, users=USERS[0], seconds=WARM_UP)
        asyncio.run(load)
    for _ in range(rounds):
        for case in cases:
            load = query_load(
                reached[case.target], listing, ids=case.ids, users=case.users, seconds=seconds
            )
            seen[case].append(asyncio.run(load))
    return seen


def report(seen: dict[Case, list[Seen]]) -> bool:
    """Print the medians; return whether they are good enough."""
    cores = len(os.sched_getaffinity(0))
    rounds = len(next(iter(seen.values())))
    print(f"{machine()}, {cores} cores for everything; Python {platform.python_version()}")
    print(f"median of {rounds} rounds; milliseconds\n")
    print("users  ids  target         requests/s     P50     P95     P99  failed")
    good = True
    for case, measured in seen.items():
        p50, p95, p99 = (percentile(measured, share) for share in (0.50, 0.95, 0.99))
        rate = statistics.median(each.rate for each in measured)
        failed = sum(each.statuses.total() - each.statuses[200] for each in measured)
        print(
            f"{case.users:>5}  {case.ids:>3}  {case.target:<13}  {rate:>10,.0f}"
            f"  {p50:>6.1f}  {p95:>6.1f}  {p99:>6.1f}  {failed:>6}"
        )
        in_time = case.target != GATEWAY or case.users != USERS[0] or p95 < P95_BELOW_MS
        good = good and in_time and failed == 0
    print()
    for ids in BATCHES:
        with_it, alone = (percentile(seen[Case(1, ids, each)], 0.5) for each in (GATEWAY, SERVICE))
        print(f"the gateway adds {with_it - alone:.1f} ms to a lone query of {ids} ids (P50)")
    verdict = "yes" if good else "NO"
    print(f"P95 below {P95_BELOW_MS:.0f} ms at {USERS[0]} users, and no failures: {verdict}")
    return good


def percentile(measured: list[Seen], share: float) -> float:
    """Return the median over rounds of a percentile, in milliseconds."""
    return statistics.median(each.percentile(share) for each in measured)


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
    parser = argparse.ArgumentParser(prog="make bench-gateway", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of one measurement")
    arguments = parser.parse_args()
    with own_stack() as reached:
        seen = run_rounds(reached, rounds=arguments.rounds, seconds=arguments.seconds)
    sys.exit(0 if report(seen) else 1)


if __name__ == "__main__":
    main()
