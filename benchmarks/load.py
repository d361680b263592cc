"""Load: a closed loop of users over kept-alive connections, and what they saw."""

import asyncio
import itertools
import math
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
import msgspec

from tools.percentile import percentile


@dataclass
class Seen:
    """What a run of users saw; latencies in seconds, of answers with status 200."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int | str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Requests per second, every status."""
        return sum(self.statuses.values()) / self.seconds

    def percentile(self, share: float) -> float:
        """Return the latency in milliseconds that `share` of the good answers stayed within."""
        found = percentile(self.latencies, share)
        return math.inf if found is None else found * 1000


@dataclass(frozen=True)
class Target:
    """Where queries go, and what they must carry to be answered there."""

    url: str
    headers: Mapping[str, str] = field(repr=False)


async def query_load(
    target: Target, products: Sequence[str], *, ids: int, users: int, seconds: float
) -> Seen:
    """Have each of `users` post batches of `ids` random products, one after another."""
    seen = Seen(seconds)
    chance = random.Random(f"load:{ids}")
    bodies = [
        msgspec.json.encode({"product_ids": chance.sample(products, ids)}) for _ in range(500)
    ]
    headers = {"Content-Type": "application/json", **target.headers}
    connector = aiohttp.TCPConnector(limit=users)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        end = time.perf_counter() + seconds
        batches = itertools.cycle(bodies)
        await asyncio.gather(
            *(_user(session, target.url, batches, end, seen) for _ in range(users))
        )
    return seen


async def _user(
    session: aiohttp.ClientSession,
    url: str,
    batches: "itertools.cycle[bytes]",
    end: float,
    seen: Seen,
) -> None:
    while (began := time.perf_counter()) < end:
        try:
            async with session.post(url, data=next(batches)) as answer:
                await answer.read()
                status: int | str = answer.status
        except aiohttp.ClientError as exc:
            status = type(exc).__name__
        seen.statuses[status] += 1
        if status == 200:
            seen.latencies.append(time.perf_counter() - began)
