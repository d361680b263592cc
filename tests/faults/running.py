"""Running: a local stack of a broken build, QA's kit on it, and what the verdict was."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from services.local import stack
from services.local.detach import fork_supervisor, wait_until_up
from services.local.plan import GatewayKind, Plan, make_plan
from services.local.program import Program
from services.local.state import StateFolder
from services.local.up import run_quietly
from tests.faults.builds import EVERY, Build

REPOSITORY = Path(__file__).parents[2]
MODULE = "-m"
PASS, FAIL, INVALID = 0, 1, 2  # exit codes of the kit
TRIES = 3  # the kit says INVALID when its own process was the limit: no verdict on the build
KIT_WITHIN = 400.0  # seconds; acceptance takes 120, the last webhooks up to 30


@dataclass(frozen=True)
class Judged:
    """What the kit said of a build."""

    word: str
    failed: frozenset[str]  # thresholds
    samples: int
    examples: str  # what went wrong, in words
    printed: str

    def is_what(self, build: Build) -> bool:
        """Say whether the verdict is right, and for the right reason."""
        word = "FAIL" if build.fails else "PASS"
        return self.word == word and self.failed == build.fails and build.tells in self.examples


def judge(build: Build, folder: Path, *, profile: str, every: int | None = None) -> Judged:
    """Start a build's stack, put the kit's load on it and end it; reports go to `folder`.

    A build that only time shows gets a short soak, whatever `profile` is.
    """
    load = ["--profile", profile]
    if build.soak_s:
        load = ["--profile", "soak", "--seconds", str(build.soak_s)]
    environment = {} if every is None else {EVERY: str(every)}
    with (
        running_stack(build, environment) as state,
        _in_front(build, state, environment) as host,
    ):
        judged = _run_kit(state, host, load, folder)
        for _ in range(TRIES - 1):
            if judged.word == "INVALID":
                judged = _run_kit(state, host, load, folder)
    return judged


@contextlib.contextmanager
def running_stack(build: Build, environment: dict[str, str]) -> Generator[Path]:
    """Run a build's local stack for the length of a with block; yield its state folder."""

    def plan_broken(*args: object, **options: object) -> Plan:
        plan = make_plan(*args, **options)  # pyright: ignore[reportArgumentType]
        for name, wrapper in build.wrapped.items():
            wrapped = _wrapped(plan.programs[name], build.name, wrapper, environment)
            plan.programs[name] = wrapped
        return plan

    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        options = stack.Options(state, stack.free_port_base(), GatewayKind.EMBEDDED)
        with mock.patch.object(stack, "make_plan", plan_broken):
            supervisor = fork_supervisor(
                StateFolder(state), lambda: run_quietly(options), bound=True
            )
        try:
            wait_until_up(StateFolder(state), supervisor)
            yield state
        finally:
            supervisor.end()


def _wrapped(program: Program, fault: str, wrapper: str, environment: dict[str, str]) -> Program:
    """Return a program that its wrapper runs: python -m services.x ... -> wrapper FAULT ..."""
    python, _, _, *arguments = program.command
    return replace(
        program,
        command=(python, MODULE, f"tests.faults.{wrapper}", fault, *arguments),
        environment=program.environment | environment | {"PYTHONPATH": str(REPOSITORY)},
    )


@contextlib.contextmanager
def _in_front(build: Build, state: Path, environment: dict[str, str]) -> Generator[str]:
    """Yield where the load goes; empty: to the stack's own gateway."""
    record = StateFolder(state).running()
    if not build.leaks or record is None:
        yield ""
        return
    command = [sys.executable, MODULE, "tests.faults.proxy", record.urls["gateway"]]
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=os.environ | environment, stdout=subprocess.PIPE, text=True
    ) as proxy:
        try:
            assert proxy.stdout is not None
            yield f"http://127.0.0.1:{proxy.stdout.readline().strip()}"
        finally:
            proxy.send_signal(signal.SIGTERM)


def _run_kit(state: Path, host: str, load: list[str], folder: Path) -> Judged:
    command: Sequence[str | Path] = [
        *(sys.executable, MODULE, "loadtests", *load),
        *("--stack", state, "--out", folder),
    ]
    environment = {key: value for key, value in os.environ.items() if key != "HOST"}
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment | ({"HOST": host} if host else {}),
        capture_output=True,
        text=True,
        timeout=KIT_WITHIN,
        check=False,
    )
    assert (folder / "result.json").exists(), done.stdout + done.stderr
    result = json.loads((folder / "result.json").read_text())
    figures = {each["name"]: each for each in result["thresholds"]}
    failed = {name for name, each in figures.items() if each["result"] == "FAIL"}
    assert done.returncode == {"PASS": PASS, "FAIL": FAIL, "INVALID": INVALID}[result["verdict"]]
    return Judged(
        result["verdict"],
        frozenset(failed),
        int(figures["samples_at_least"]["measured"]),
        json.dumps(result["went_wrong"]),
        done.stdout,
    )
