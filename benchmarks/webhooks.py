"""Webhooks: how soon partners hear of a change, and how much one worker process sends.

Run as `make bench-webhooks`; it starts what it needs and leaves nothing behind. Writer, programs,
PostgreSQL, Valkey and the receiver share this machine's cores. Exit code 1 below a figure.
"""

import argparse
import platform
import signal
import statistics
import sys
from collections.abc import Callable, Sequence

from benchmarks import webhooks_latency, webhooks_rate
from benchmarks.gateway_load import machine
from benchmarks.webhooks_chain import ENDPOINTS_OF_A_PARTNER, running_bench
from benchmarks.webhooks_latency import LATE, Latencies
from tools.receiver import NO_ANSWER, Behaviour

# 200 deliveries/s: about half of what two cores carry for everything together.
HEALTHY, HEALTHY_RATE, HEALTHY_P99 = 4, 50.0, 1.0  # endpoints, changes/s, seconds
MIXED, MIXED_RATE, MIXED_P99 = 100, 2.0, 5.0
RATIO = 0.25  # of a bare loop's rate
RATE_ENDPOINTS, THREADS, DELIVERIES = 16, 16, 10_000
PERCENTILES = (0.50, 0.95, 0.99, 1.0)


def hangs(number: int) -> bool:
    """Say whether an endpoint hangs: one of each partner's ten."""
    return number % ENDPOINTS_OF_A_PARTNER == 0


def healthy(seconds: float) -> bool:
    """Measure healthy receivers."""
    with running_bench(HEALTHY, lambda _: ()) as bench:
        seen = webhooks_latency.measure(bench, range(HEALTHY), rate=HEALTHY_RATE, seconds=seconds)
    return _tell(f"{HEALTHY} endpoints, all healthy", seen, below=HEALTHY_P99)


def mixed(seconds: float) -> bool:
    """Measure the healthy ones beside others that hang."""
    fine = [number for number in range(MIXED) if not hangs(number)]

    def behaviour(number: int) -> Sequence[Behaviour]:
        return (Behaviour(NO_ANSWER),) if hangs(number) else ()

    with running_bench(MIXED, behaviour) as bench:
        seen = webhooks_latency.measure(bench, fine, rate=MIXED_RATE, seconds=seconds)
    what = f"{MIXED} endpoints, of which {MIXED - len(fine)} hang: the others"
    return _tell(what, seen, below=MIXED_P99)


def rate(rounds: int, threads: int) -> bool:
    """Measure a worker process against a bare loop."""
    print(
        f"one worker process, a backlog of {DELIVERIES:,} deliveries to {RATE_ENDPOINTS} endpoints,"
        f" {threads} threads; requests/s at the receiver\n"
        "  bare httpx.Client   worker   ratio"
    )
    seen: list[float] = []
    with running_bench(RATE_ENDPOINTS, lambda _: (), WORKER_THREADS=threads) as bench:
        for _ in range(rounds):
            found = webhooks_rate.measure(bench, deliveries=DELIVERIES, threads=threads)
            seen.append(found.ratio)
            print(f"  {found.bare:>17,.0f}   {found.worker:>6,.0f}   {found.ratio:>5.2f}")
    ratio = statistics.median(seen)
    return _verdict(f"ratio {ratio:.2f} (median)", f"{RATIO} or more", good=ratio >= RATIO)


def _tell(what: str, seen: Latencies, *, below: float) -> bool:
    told = "  ".join(
        f"P{share * 100:.0f} {seen.percentile(share) * 1000:,.0f}" for share in PERCENTILES
    )
    deliveries = seen.rate * seen.endpoints
    print(
        f"{what}: {seen.rate:.0f} changes/s for {seen.seconds:.0f} s,"
        f" {deliveries:,.0f} deliveries/s to them\n"
        f"  commit to receipt, ms: {told}; missing {LATE:.0f} s later: {seen.missing}"
    )
    p99 = seen.percentile(0.99)
    good = p99 < below and seen.missing == 0
    return _verdict(f"P99 {p99:.2f} s", f"below {below:.0f} s, and nothing missing", good=good)


def _verdict(found: str, wanted: str, *, good: bool) -> bool:
    print(f"  {found}; wanted: {wanted}: {'yes' if good else 'NO'}\n", flush=True)
    return good


def main() -> None:
    """Measure and exit with the verdict."""
    parser = argparse.ArgumentParser(prog="make bench-webhooks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each latency measurement")
    parser.add_argument("--rounds", type=int, default=3, help="of the worker against a bare loop")
    parser.add_argument("--threads", type=int, default=THREADS, help="of each of these two")
    parser.add_argument("--only", choices=["healthy", "mixed", "rate"])
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended
    parts: dict[str, Callable[[], bool]] = {
        "healthy": lambda: healthy(given.seconds),
        "mixed": lambda: mixed(given.seconds),
        "rate": lambda: rate(given.rounds, given.threads),
    }
    print(f"{machine()}; everything on it; Python {platform.python_version()}\n")
    verdicts = [measure() for name, measure in parts.items() if given.only in (None, name)]
    sys.exit(0 if all(verdicts) else 1)


if __name__ == "__main__":
    main()
