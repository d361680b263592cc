"""Run: QA's kit on a good build, three times, and on each broken one: `make verdicts`.

Exit code 1 when a verdict is wrong, or right for another reason. Reports are kept in a folder.
"""

import argparse
import sys
import time
from pathlib import Path

from tests.faults.builds import BROKEN, BUILDS, GOOD
from tests.faults.running import judge

GOOD_ROUNDS = 3


def main() -> None:
    """Judge the builds that the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run", description=__doc__)
    parser.add_argument("builds", nargs="*", metavar="BUILD", help=", ".join(BUILDS))
    parser.add_argument("--out", type=Path, default=Path("build/verdicts"), metavar="DIR")
    arguments = parser.parse_args()
    names = arguments.builds or [*[GOOD.name] * GOOD_ROUNDS, *BROKEN]
    if unknown := set(names) - set(BUILDS):
        parser.error(f"{', '.join(unknown)}: there are {', '.join(BUILDS)}")
    wrong = [name for number, name in enumerate(names) if not _right(name, arguments.out, number)]
    print(f"\nwrong verdicts: {', '.join(wrong) or 'none'}")
    sys.exit(bool(wrong))


def _right(name: str, out: Path, number: int) -> bool:
    build, began = BUILDS[name], time.monotonic()
    folder = out / f"{number + 1}-{name}"
    judged = judge(build, folder, profile="acceptance")
    right = judged.is_what(build) and judged.samples >= build.samples_at_least
    print(f"\n{name}: {build.says} ({time.monotonic() - began:.0f} s, {folder})")
    print(f"  {judged.word} with {judged.samples:,} requests: {'right' if right else 'WRONG'}")
    for line in judged.printed.rpartition(f"\n{judged.word}")[2].splitlines()[1:]:
        print(f"  {line}")
    if judged.examples != "{}":
        print(f"  {judged.examples[:300]}", flush=True)
    return right


if __name__ == "__main__":
    main()
