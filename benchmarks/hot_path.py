"""Hot path: what a query costs the service, beside the least that its server can cost.

Run as `make bench`. Every server is pinned to one core and the load and the stores to another;
a round takes turns between all cases, and a case is compared with the floor of its own round. The
figure is the server's processor time for a request: it holds still where requests/s do not. Exit
code 1 when a median is beyond its limit or any answer was not 200. README.md explains the figures.
"""

import argparse
import itertools
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from benchmarks.gateway_load import machine
from benchmarks.hot_servers import (
    FLOOR,
    MEMORY,
    PLAIN,
    POSTGRES,
    VALKEY,
    Server,
    pin,
    request,
    running_servers,
)
from benchmarks.raw_load import Answers, run_load

SIZES = (1, 3, 100)
USERS = 64
BATCHES = 400  # different requests of a case
IDLE = (
    0.005  # seconds of processor time in LOOK_EVERY, at most; then nothing is read again any more
)
LOOK_EVERY, IDLE_WITHIN = 0.1, 10.0  # seconds
SETTLE = 0.1  # seconds of load before a measurement


@dataclass(frozen=True)
class Measured:
    """One measurement of one case."""

    cpu_us: float  # of the server, for one request
    rate: float  # requests per second
    p50_us: float
    bad: int


@dataclass(frozen=True)
class Limit:
    """A ratio of two figures of one round, and what its median may be at most."""

    what: str
    ratio: Callable[[Mapping[tuple[str, int, int], Measured]], float]
    most: float


def _cpu(name: str, size: int, other: str) -> Callable[..., float]:
    return lambda seen: seen[name, size, USERS].cpu_us / seen[other, size, USERS].cpu_us


LIMITS = (
    Limit("memory hot, 100 ids: CPU against the floor", _cpu(MEMORY, 100, FLOOR), 2.5),
    Limit("memory hot, 3 ids: CPU against the floor", _cpu(MEMORY, 3, FLOOR), 2.5),
    Limit("Valkey only, 100 ids: CPU against the floor", _cpu(VALKEY, 100, FLOOR), 7.0),
    Limit("memory hot, 100 ids: CPU against the plain handler", _cpu(MEMORY, 100, PLAIN), 1 / 3),
    Limit(
        "memory hot, 100 ids, one connection: P50 against the floor",
        lambda seen: seen[MEMORY, 100, 1].p50_us / seen[FLOOR, 100, 1].p50_us,
        2.5,
    ),
)


def measure(server: Server, requests: Sequence[bytes], *, users: int, seconds: float) -> Measured:
    """Load a server and return what a request cost it."""
    run_load(server.port, requests, users=users, seconds=SETTLE)
    before = server.cpu_seconds()
    answers = run_load(server.port, requests, users=users, seconds=seconds)
    spent = server.cpu_seconds() - before
    return _measured(answers, spent)


def wait_until_idle(server: Server) -> None:
    """Return when a server has ended what it does beside requests."""
    deadline = time.monotonic() + IDLE_WITHIN
    before = server.cpu_seconds()
    while True:
        time.sleep(LOOK_EVERY)
        now = server.cpu_seconds()
        if now - before < IDLE:
            return
        if time.monotonic() > deadline:
            msg = f"{server.process.args!r} was never idle"
            raise TimeoutError(msg)
        before = now


def _measured(answers: Answers, spent: float) -> Measured:
    count = answers.good + answers.bad
    return Measured(
        cpu_us=spent / count * 1e6,
        rate=count / answers.seconds,
        p50_us=statistics.median(answers.latencies) * 1e6,
        bad=answers.bad,
    )


Round = dict[tuple[str, int, int], Measured]  # by server, ids, connections


def run_rounds(
    servers: Mapping[str, Server], listing: list[str], *, rounds: int, seconds: float
) -> list[Round]:
    """Measure every case once a round."""
    chance = random.Random("hot path")
    requests = {
        (name, size): [request(server, chance.sample(listing, size)) for _ in range(BATCHES)]
        for (name, server), size in itertools.product(servers.items(), SIZES)
    }
    every = [request(servers[MEMORY], listing[n : n + 100]) for n in range(0, len(listing), 100)]
    seen: list[Round] = []
    for number in range(rounds):
        measured: Round = {}
        for size, (name, server) in itertools.product(SIZES, servers.items()):
            for users in (USERS, 1) if name in (FLOOR, MEMORY) else (USERS,):
                if name == MEMORY:  # nobody asked it since its last turn: what has aged comes back
                    run_load(server.port, every, users=1, seconds=SETTLE)
                    wait_until_idle(server)
                measured[name, size, users] = measure(
                    server, requests[name, size], users=users, seconds=seconds
                )
        seen.append(measured)
        sys.stderr.write(f"round {number + 1} of {rounds}\n")
    return seen


def report(seen: list[Round]) -> bool:
    """Print the medians; return whether they are good enough."""
    print(f"{machine()}; Python {platform.python_version()}; median of {len(seen)} rounds")
    print(f"CPU: microseconds of the server for a request, {USERS} connections\n")
    print(" ids  server             CPU  x floor  requests/s   P50 at 1 connection, us")
    for size, name in itertools.product(SIZES, (FLOOR, MEMORY, VALKEY, POSTGRES, PLAIN)):
        cpu = _median(seen, lambda each, n=name, s=size: each[n, s, USERS].cpu_us)
        ratio = _median(seen, _cpu(name, size, FLOOR))
        rate = _median(seen, lambda each, n=name, s=size: each[n, s, USERS].rate)
        line = f"{size:>4}  {name:<15}  {cpu:>6.0f}  {ratio:>7.2f}  {rate:>10,.0f}"
        if (name, size, 1) in seen[0]:
            p50 = _median(seen, lambda each, n=name, s=size: each[n, s, 1].p50_us)
            line += f"  {p50:>10.0f}"
        print(line)
    print()
    bad = sum(measured.bad for each in seen for measured in each.values())
    good = bad == 0
    for limit in LIMITS:
        found = _median(seen, limit.ratio)
        verdict = "yes" if found <= limit.most else "NO"
        good = good and found <= limit.most
        print(f"{limit.what}: {found:.2f}, at most {limit.most:.2f}: {verdict}")
    print(f"answers that were not 200: {bad}")
    return good


def write_json(path: Path, seen: list[Round]) -> None:
    """Write every measurement of every round."""
    rows = [
        {"round": number, "server": name, "ids": size, "connections": users, **asdict(measured)}
        for number, each in enumerate(seen)
        for (name, size, users), measured in each.items()
    ]
    found = {limit.what: _median(seen, limit.ratio) for limit in LIMITS}
    content = {"machine": machine(), "ratios": found, "measurements": rows}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content)))


def _median(seen: list[Round], figure: Callable[[Round], float]) -> float:
    return statistics.median(figure(each) for each in seen)


def main() -> None:
    """Measure and exit with the verdict."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.4, help="length of one measurement")
    parser.add_argument("--json", type=Path, help="where to write every measurement")
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        print("one core only: the load takes time from the servers; CPU figures still hold")
    # This process and what it starts stay on the last core; the servers are moved to the first.
    pin(os.getpid(), cores[-1])
    with (
        tempfile.TemporaryDirectory() as folder,
        running_servers(Path(folder), SIZES, core=cores[0]) as (servers, listing),
    ):
        seen = run_rounds(servers, listing, rounds=arguments.rounds, seconds=arguments.seconds)
    if arguments.json:
        write_json(arguments.json, seen)
    sys.exit(0 if report(seen) else 1)


if __name__ == "__main__":
    main()
