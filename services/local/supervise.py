"""Supervise: start the children of a stack, start again those that end, end them in order."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.local.children import StackError, describe_exit, last_line, server_uid, start
from services.local.interrupts import Interrupts
from services.local.program import Program, Stage
from services.local.readiness import is_ready
from services.local.state import ChildRecord, StateFolder, identify

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds before an ended child is started again
STEADY_AFTER = 30.0  # seconds; a child that lived as long begins again with the first pause
TICK = 0.1  # seconds between two looks at the children
POLL = 0.02  # seconds between two looks at children that start
READY_WITHIN = 30.0  # seconds; all of them take 3, PostgreSQL longer after a crash
END_WITHIN = 10.0  # seconds before SIGKILL; the services drain for 8 at most
ENDING_ORDER = (Stage.GATEWAY, Stage.SERVICES, Stage.SERVERS)


@dataclass
class Child:
    """A program and its process of now."""

    program: Program
    process: subprocess.Popen[bytes]
    started: float
    pause: float = FIRST_PAUSE
    start_at: float | None = None  # set while it is down
    recovering: bool = False  # started again, not yet seen ready
    log_start: int = 0  # bytes of its log that earlier processes wrote


class Supervisor:
    """The children of one stack."""

    def __init__(
        self,
        folder: StateFolder,
        interrupts: Interrupts,
        *,
        tell: Callable[[str], None],
        changed: Callable[[dict[str, ChildRecord]], None],
    ) -> None:
        """`tell` prints a line for people, `changed` hears of every new set of processes."""
        self._folder = folder
        self._interrupts = interrupts
        self._tell = tell
        self._changed = changed
        self._children: dict[str, Child] = {}
        self._records: dict[str, ChildRecord] = {}

    def start(self, programs: Sequence[Program]) -> None:
        """Start programs, each with an empty log."""
        for program in programs:
            log = self._folder.log(program.name)
            if program.folder is not None:
                program.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                log.replace(log.with_suffix(".log.1"))
            with self._interrupts.held():
                self._children[program.name] = Child(program, self._launch(program), _now())
        self._record()

    def _launch(self, program: Program) -> subprocess.Popen[bytes]:
        return start(
            program.command,
            log=self._folder.log(program.name),
            folder=self._folder.path,
            environment=program.environment,
            death_signal=program.stop_signal,
            uid=server_uid() if program.unprivileged else None,
        )

    def _record(self) -> None:
        self._records = {}
        for name, child in self._children.items():
            process, program = identify(child.process.pid), child.program
            if process is not None:
                self._records[name] = ChildRecord(
                    process, program.ports, program.health, program.ready_word, child.log_start
                )
        self._changed(self._records)

    def wait_ready(self, names: Sequence[str]) -> None:
        """Return when these children are ready. Raises StackError when any child ends."""
        self.wait_until(
            lambda: next((f"{name} was not ready" for name in names if not self._ready(name)), ""),
            log=lambda fault: self._folder.log(fault.split(" ", 1)[0]),
        )

    def wait_until(self, fault: Callable[[], str], log: Callable[[str], Path]) -> None:
        """Return when `fault` finds none. Raises StackError with it, and when any child ends."""
        deadline = _now() + READY_WITHIN
        while found := fault():
            self._raise_if_one_ended()
            if _now() > deadline:
                msg = f"{found} after {READY_WITHIN:.0f} s; its log is {log(found)}"
                raise StackError(msg)
            time.sleep(POLL)

    def _ready(self, name: str) -> bool:
        record = self._records.get(name)  # none when it has ended already
        return record is not None and is_ready(record, self._folder.log(name))

    def _raise_if_one_ended(self) -> None:
        for child in self._children.values():
            if child.process.poll() is not None:
                raise StackError(self._exit_message(child))

    def _exit_message(self, child: Child) -> str:
        name, log = child.program.name, self._folder.log(child.program.name)
        ports = ", ".join(str(port) for port in child.program.ports)
        where = f" (port {ports})" if ports else ""
        how = describe_exit(child.process.returncode)
        said = f": {last_line(log)}" if child.process.returncode > 0 else ""
        return f"{name}{where} ended with {how}{said}; its log is {log}"

    def watch(self) -> None:
        """Keep the children running until StopRequested."""
        while True:
            time.sleep(TICK)
            for child in self._children.values():
                if child.start_at is not None:
                    self._start_when_due(child)
                elif child.process.poll() is not None:
                    self._schedule(child)
                elif child.recovering and self._ready(child.program.name):
                    child.recovering = False
                    self._tell(f"{child.program.name} is back")

    def _schedule(self, child: Child) -> None:
        if _now() - child.started > STEADY_AFTER:
            child.pause = FIRST_PAUSE
        self._tell(f"{self._exit_message(child)}; it is started again in {child.pause:g} s")
        child.start_at = _now() + child.pause
        child.pause = min(child.pause * 2, LONGEST_PAUSE)

    def _start_when_due(self, child: Child) -> None:
        if child.start_at is None or _now() < child.start_at:
            return
        child.log_start = self._folder.log(child.program.name).stat().st_size
        with self._interrupts.held():
            child.process = self._launch(child.program)
        child.start_at, child.started, child.recovering = None, _now(), True
        self._record()

    def stop(self) -> list[str]:
        """End all children, those in front first; return the names of those that had to be."""
        self._interrupts.ignore()
        ended: list[str] = []
        for stage in ENDING_ORDER:
            group = [each for each in self._children.values() if each.program.stage is stage]
            running = [child for child in group if child.process.poll() is None]
            for child in running:
                child.process.send_signal(child.program.stop_signal)
            deadline = _now() + END_WITHIN
            for child in running:
                _reap(child.process, deadline)
                ended.append(child.program.name)
        return ended


def _reap(process: subprocess.Popen[bytes], deadline: float) -> None:
    try:
        process.wait(timeout=max(0.0, deadline - _now()))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _now() -> float:
    return time.monotonic()
