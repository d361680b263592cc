"""Run: 2,000 cases of the contract and more, on a stack of its own: `make contract`.

Exit code 1 when an answer is not what the contract says. The seed is printed; SEED=... repeats it.
"""

import os
import random
import sys
import tempfile
import time
from pathlib import Path

import valkey

from loadtests.plan import Target
from loadtests.site import Site, own_stack
from services.local.plan import COUNTERS_DATABASE
from services.local.state import StateFolder
from tests.cases.running import LIVE_HAS, run_cases

CASES_AT_LEAST = 2000
SANDBOX_EXAMPLES, LIVE_EXAMPLES = 60, 100  # of each operation


def main() -> None:
    """Run all cases in both environments."""
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    with own_stack() as site, tempfile.TemporaryDirectory() as folder:
        every = {
            "sandbox": run_cases(
                site.target, "sandbox", Path(folder), seed=seed, examples=SANDBOX_EXAMPLES
            ),
            "live": run_cases(
                *(_without_counts(site), "live", Path(folder)),
                seed=seed,
                examples=LIVE_EXAMPLES,
                paths=LIVE_HAS,
            ),
        }
    for environment, cases in every.items():
        if cases.failures:
            print(cases.output)
        told = "; ".join(f"{kind}: {where}" for kind, where in cases.failures.items())
        print(f"{environment}: {cases.generated:,} cases, {told or 'all as the contract says'}")
    total = sum(cases.generated for cases in every.values())
    good = not any(cases.failures for cases in every.values())
    enough = total >= CASES_AT_LEAST
    print(f"{total:,} cases in {time.monotonic() - began:.0f} s")
    if not enough:
        print(f"too few: {CASES_AT_LEAST:,} are wanted")
    sys.exit(not (good and enough))


def _without_counts(site: Site) -> Target:
    """Return a stack's target when the gateway has forgotten what it counted.

    Requests without a good key share a limit, and beyond it a 401 becomes a 429.
    """
    record = StateFolder(site.needs_state()).running()
    assert record is not None
    with valkey.Valkey(port=record.ports["valkey"], db=COUNTERS_DATABASE) as counters:
        counters.flushdb()
    return site.target


if __name__ == "__main__":
    main()
