"""Run: start the load, change stock underneath, bring the fault, and gather what was seen."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import psycopg

from loadtests.changing import TIMEOUT, SetStock, Writer, by_put, by_sql
from loadtests.faults import Fault
from loadtests.hooks import COMING_AND_GOING, Hooks
from loadtests.measures import Run, Window, make_run, started_at
from loadtests.memory import looked_at
from loadtests.plan import CouldNotRunError, Plan, Profile, fault_at
from loadtests.records import read_records
from loadtests.site import Site, with_mix, without_scenarios
from tools.receiver_process import running_receiver

REPOSITORY = Path(__file__).parents[1]
CHANGING = 40  # products in each environment; live ones are those asked for most
DRAIN = 30.0  # seconds after the load in which the last webhooks may come
MARGIN = 60.0  # seconds that locust may need beyond its profile
LOCUST = (sys.executable, "-m", "locust", "-f", str(REPOSITORY / "loadtests/locustfile.py"))
LOCUST_OPTIONS = (
    *("--headless", "--only-summary", "--loglevel", "WARNING"),
    *("--stop-timeout", "5", "--exit-code-on-error", "0"),  # seconds; failures are judged here
)
PLAN = "LOADTEST_PLAN"  # as the locustfile reads it


@dataclass(frozen=True)
class Outcome:
    """What a run gave."""

    run: Run
    profile: Profile  # what could be run of it
    left_out: dict[str, str]


def run_load(
    site: Site, profile: Profile, fault: Fault | None, outage_s: float, folder: Path
) -> Outcome:
    """Run a profile; logs and records go to `folder`. Raises CouldNotRunError."""
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(httpx.Client(timeout=TIMEOUT, trust_env=False))
        hooks = _hooks(stack, site, client)
        bring = _bringing(site, hooks, fault)
        left_out = without_scenarios(profile.mix, site, hooks is not None)
        mix = with_mix(profile.mix, left_out)
        if not mix:
            msg = "no scenario of this profile can run here: " + ", ".join(left_out.values())
            raise CouldNotRunError(msg)
        profile = msgspec.structs.replace(profile, mix=mix)
        writers = _writers(stack, site, client, profile)
        if hooks is not None:
            hooks.register(hanging=fault is Fault.HANGING_WEBHOOK)
            stack.callback(hooks.remove)
        plan = _plan(site, profile, hooks, folder)
        with _all_running(writers), looked_at(site.state, profile.seconds) as held:
            fault_time = _load(plan, folder, bring)
        run = _gather(plan, profile, fault_time, outage_s)
        run.held = held
        for each, _ in writers:
            run.changes += each.done.changes
            run.requests += each.done.requests
        if hooks is not None:
            sandbox = [each for each in run.changes if each.environment == "sandbox"]
            run.delivered = hooks.wait(sandbox, DRAIN)
    return Outcome(run, profile, left_out)


def _hooks(stack: contextlib.ExitStack, site: Site, client: httpx.Client) -> Hooks | None:
    """Return webhooks with a receiver, where the gateway can reach one."""
    if not (site.on_this_machine and site.target.sandbox_api_key):
        return None
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    return Hooks(client, site.target, stack.enter_context(running_receiver(folder, hosts=8)))


def _writers(
    stack: contextlib.ExitStack, site: Site, client: httpx.Client, profile: Profile
) -> list[tuple[Writer, SetStock]]:
    found: list[tuple[Writer, SetStock]] = []
    if site.stock_url:
        connection = stack.enter_context(psycopg.connect(site.stock_url, autocommit=True))
        live = Writer("live", site.products[:CHANGING], profile.live_changes_per_s)
        found.append((live, by_sql(connection, live.done.requests)))
    if site.target.sandbox_api_key:
        writer = Writer("sandbox", sandbox_products(), profile.sandbox_changes_per_s)
        set_stock = by_put(client, site.target, writer.done.requests)
        for _ in range(CHANGING):  # so that they are there when they are asked for
            writer.change(set_stock)
        if len(writer.done.changes) < CHANGING:
            msg = f"the sandbox takes no stock: {writer.done.requests[0].detail}"
            raise CouldNotRunError(msg)
        writer.done.changes.clear()
        writer.done.requests.clear()
        found.append((writer, set_stock))
    return found


@contextlib.contextmanager
def _all_running(writers: list[tuple[Writer, SetStock]]) -> Generator[None]:
    """Change stock underneath for the length of a with block."""
    with contextlib.ExitStack() as running:
        for each, set_stock in writers:
            running.enter_context(each.running(set_stock))
        yield


def sandbox_products() -> list[str]:
    """Return the run's own products of the sandbox."""
    return [f"QA-LOAD-{number:03}" for number in range(CHANGING)]


def _plan(site: Site, profile: Profile, hooks: Hooks | None, folder: Path) -> Plan:
    return Plan(
        profile=profile,
        target=site.target,
        samples=str((folder / "samples.jsonl").resolve()),  # locust runs in another folder
        products=site.products,
        all_known=site.all_known,
        changing={
            "live": site.products[:CHANGING] if site.stock_url else [],
            "sandbox": sandbox_products(),
        },
        hook_url=hooks.receiver.url(COMING_AND_GOING) if hooks else "",
        webhooks_before=hooks.listed() if hooks else {},
    )


Bring = Callable[[], object]


def _bringing(site: Site, hooks: Hooks | None, fault: Fault | None) -> Bring | None:
    """Return what makes a fault happen."""
    if fault in (Fault.VALKEY_KILLED, Fault.GATEWAY_RESTARTED):
        site.needs_state()
    if fault is Fault.VALKEY_KILLED:
        return functools.partial(site.kill_and_wait, "valkey", signal.SIGKILL)
    if fault is Fault.GATEWAY_RESTARTED:
        return functools.partial(site.kill_and_wait, "gateway", signal.SIGTERM)
    if fault is Fault.HANGING_WEBHOOK:
        if hooks is None:
            msg = "there is no webhook that could hang: no receiver that the gateway could call"
            raise CouldNotRunError(msg)
        return hooks.hang
    return None


def _load(plan: Plan, folder: Path, bring: Bring | None) -> float | None:
    """Run locust to its end; return when the fault came, in seconds since 1970."""
    with _plan_file(plan) as path, (folder / "locust.log").open("wb") as log:
        process = subprocess.Popen(
            [*LOCUST, *LOCUST_OPTIONS],
            cwd=REPOSITORY,
            env={**os.environ, PLAN: str(path), "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        came: list[float] = []
        troubles: list[CouldNotRunError] = []
        timer = _timer(plan, bring, came, troubles)
        try:
            code = process.wait(plan.profile.seconds + MARGIN)
        except subprocess.TimeoutExpired as exc:
            msg = f"locust did not end; its log is {log.name}"
            raise CouldNotRunError(msg) from exc
        finally:
            timer.cancel()
            if process.poll() is None:
                process.kill()
                process.wait()
    if troubles:
        raise troubles[0]
    if code:
        msg = f"locust ended with exit code {code}; its log is {log.name}"
        raise CouldNotRunError(msg)
    return came[0] if came else None


def _timer(
    plan: Plan, bring: Bring | None, came: list[float], troubles: list[CouldNotRunError]
) -> threading.Timer:
    """Start what brings the fault in the middle of full load."""
    at = fault_at(plan.profile, Fault.VALKEY_KILLED) or 0.0

    def act() -> None:
        came.append(time.time())
        try:
            if bring is not None:
                bring()
        except CouldNotRunError as exc:
            troubles.append(exc)

    timer = threading.Timer(at, act)
    if bring is not None:
        timer.start()
    return timer


@contextlib.contextmanager
def _plan_file(plan: Plan) -> Generator[Path]:
    """Write the plan where only this user reads it: it holds keys."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.json"
        path.write_bytes(msgspec.json.encode(plan))
        yield path


def _gather(plan: Plan, profile: Profile, fault_time: float | None, outage_s: float) -> Run:
    records = read_records(Path(plan.samples))
    start = started_at(records)
    if start is None:
        msg = "the load generator noted nothing"
        raise CouldNotRunError(msg)
    window = Window(start, start + profile.ramp_s, start + profile.full_until)
    if fault_time is not None:
        until = fault_time + outage_s
        window = Window(start, window.full_from, window.full_until, fault_time, until)
    return make_run(window, records)
