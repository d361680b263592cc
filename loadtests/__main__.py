"""Entry: `python -m loadtests`: one command, a verdict (docs/load-testing.md)."""

import argparse
import os
import signal
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from loadtests import machines, report
from loadtests.faults import Fault
from loadtests.measures import health, measure
from loadtests.plan import CouldNotRunError, load_profiles
from loadtests.report import About
from loadtests.run import Outcome, run_load
from loadtests.series import charts
from loadtests.site import chosen_site
from loadtests.stress import Step, knee, steps, told
from loadtests.thresholds import THRESHOLDS, Thresholds, load_thresholds
from loadtests.verdict import Verdict, judge, table

COULD_NOT_RUN = 2
REPORT, RESULT, JUNIT = "report.html", "result.json", "junit.xml"


def main() -> None:
    """Run and exit: 0 PASS, 1 FAIL, 2 INVALID or could not run."""
    arguments = _arguments()
    # So that the stack and the load are ended then, too.
    signal.signal(signal.SIGTERM, _end)
    try:
        sys.exit(_run(arguments))
    except CouldNotRunError as exc:
        sys.stderr.write(f"loadtests: could not run: {exc}\n")
        sys.exit(COULD_NOT_RUN)
    except Exception:  # noqa: BLE001 -- Python would exit with 1, which is the build's FAIL
        traceback.print_exc()
        sys.exit(COULD_NOT_RUN)


def _end(number: int, frame: FrameType | None) -> None:
    del number, frame
    sys.exit(COULD_NOT_RUN)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests",
        description="Put load on a gateway and say whether the build is fit for release.",
        epilog="Exit code: 0 PASS, 1 FAIL, 2 the load generator was the limit, or could not run."
        " Without HOST in the environment a local stack is started. See docs/load-testing.md.",
    )
    parser.add_argument("--profile", default="smoke", help="of loadtests/profiles.toml")
    parser.add_argument("--fault", choices=[str(each) for each in Fault], help="local stack only")
    parser.add_argument("--out", type=Path, default=Path("build/loadtests"), metavar="DIR")
    parser.add_argument("--seconds", type=float, help="of full load, instead of the profile's")
    parser.add_argument("--thresholds", type=Path, default=THRESHOLDS, metavar="FILE")
    parser.add_argument("--stack", type=Path, metavar="DIR", help="a running stack's state folder")
    return parser.parse_args()


def _run(arguments: argparse.Namespace) -> int:
    profiles = load_profiles()
    if arguments.profile not in profiles:
        msg = f"{arguments.profile} is no profile; there are {', '.join(profiles)}"
        raise CouldNotRunError(msg)
    profile = profiles[arguments.profile]
    if arguments.seconds is not None:
        if profile.steps or arguments.seconds <= 0:
            msg = "--seconds must be above 0, and is not for a profile of steps"
            raise CouldNotRunError(msg)
        profile = profile.lasting(arguments.seconds)
    fault = Fault(arguments.fault) if arguments.fault else None
    thresholds = load_thresholds(arguments.thresholds, arguments.profile, fault, list(profiles))
    folder: Path = arguments.out
    _make_room(folder)
    print(f"{arguments.profile}: {profile.says}", flush=True)
    began, clock = datetime.now(UTC), time.monotonic()
    with chosen_site(os.environ, arguments.stack) as site:
        outcome = run_load(site, profile, fault, thresholds.outage_s, folder)
    about = About(
        arguments.profile,
        profile.says,
        arguments.fault or "",
        site.target.host,
        began.isoformat(timespec="seconds"),
        time.monotonic() - clock,
        outcome.left_out,
    )
    verdict, found = _judged(outcome, thresholds)
    _write(folder, about, verdict, outcome, found)
    print(f"\n{table(verdict)}\n\nreport: {folder / REPORT}")
    return verdict.exit_code


def _make_room(folder: Path) -> None:
    """Make the folder, without what an earlier run left: its verdict is not this one's."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (REPORT, RESULT, JUNIT):
            (folder / name).unlink(missing_ok=True)
    except OSError as exc:
        msg = f"--out {folder}: {exc.strerror}"
        raise CouldNotRunError(msg) from exc


def _judged(outcome: Outcome, thresholds: Thresholds) -> tuple[Verdict, list[Step]]:
    run, profile = outcome.run, outcome.profile
    measured = measure(run)
    if not profile.steps:
        return judge(measured, thresholds, health(run)), []
    found, p95_ms = steps(run, profile), thresholds.step_p95_ms
    measured["knee_users_at_least"] = float(knee(found, p95_ms))
    broke = next((each for each in found if not each.carried(p95_ms)), found[-1])
    at_the_knee = health(run, start=broke.until - profile.step_s, until=broke.until)
    verdict = judge(measured, thresholds, at_the_knee, until_it_breaks=True)
    verdict.notes.append(told(found, p95_ms))
    return verdict, found


def _write(
    folder: Path, about: About, verdict: Verdict, outcome: Outcome, found: list[Step]
) -> None:
    limits = {each.name: each.limit for each in verdict.rows}
    drawn = charts(outcome.run, limits["partner_p95_ms"], limits["webhook_p95_s"])
    page = report.render(about, verdict, outcome.run, drawn, found)
    (folder / REPORT).write_text(page)
    (folder / RESULT).write_bytes(machines.as_json(about, verdict, outcome.run, found))
    (folder / JUNIT).write_text(machines.as_junit(about, verdict))


if __name__ == "__main__":
    main()
