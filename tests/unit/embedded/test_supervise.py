"""The supervisor with small programs in the place of servers."""

import re
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from services.local import supervise
from services.local.children import StackError, free_port
from services.local.interrupts import ENDING, Interrupts, StopRequested
from services.local.program import Program, Stage
from services.local.readiness import is_ready
from services.local.state import ChildRecord, StateFolder
from services.local.supervise import Supervisor
from tools.waiting import wait_for

SERVE = (
    "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1])));"
    " time.sleep(60)"
)
FAIL = "import sys; sys.exit('the port is haunted')"


class Desk:
    """A supervisor, and what it said."""

    def __init__(self, path: Path) -> None:
        self.said: list[str] = []
        self.records: dict[str, ChildRecord] = {}
        self.folder = StateFolder(path)
        self.folder.make()
        self.interrupts = Interrupts()
        self.supervisor = Supervisor(
            self.folder, self.interrupts, tell=self._tell, changed=self._changed
        )

    def watch_until_one_is_back(self) -> None:
        with pytest.raises(StopRequested):
            self.supervisor.watch()
        assert self.said[-1].endswith(" is back")

    def _tell(self, line: str) -> None:
        self.said.append(line)
        if line.endswith(" is back"):
            raise StopRequested

    def _changed(self, records: dict[str, ChildRecord]) -> None:
        self.records = records


@pytest.fixture
def desk(tmp_path: Path) -> Generator[Desk]:
    before = {number: signal.getsignal(number) for number in ENDING}
    made = Desk(tmp_path / "state")
    yield made
    made.supervisor.stop()
    for number, handler in before.items():
        signal.signal(number, handler)


def program(name: str, code: str, stage: Stage = Stage.SERVICES) -> Program:
    port = free_port()
    return Program(name, stage, (sys.executable, "-c", code, str(port)), (port,))


def test_a_child_that_ends_during_a_start_is_told_with_its_last_words_and_log(desk: Desk) -> None:
    desk.supervisor.start([program("good", SERVE), program("bad", FAIL)])
    log = desk.folder.log("bad")
    said = rf"bad \(port \d+\) ended with exit code 1: the port is haunted; its log is {log}"
    with pytest.raises(StackError, match=said):
        desk.supervisor.wait_ready(["good", "bad"])


def test_a_child_that_never_gets_ready_is_named(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "READY_WITHIN", 0.2)
    desk.supervisor.start([program("idle", "import time; time.sleep(60)")])
    with pytest.raises(StackError, match=r"idle was not ready after 0 s; its log is .*idle\.log"):
        desk.supervisor.wait_ready(["idle"])


STARTS = "import time; print('service.started', flush=True); time.sleep(60)"


def portless(name: str, code: str) -> Program:
    command = (sys.executable, "-c", code)
    return Program(name, Stage.SERVICES, command, (), ready_word="service.started")


def test_a_child_without_a_port_is_ready_when_its_log_says_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.supervisor.start([portless("worker", STARTS)])
    desk.supervisor.wait_ready(["worker"])
    monkeypatch.setattr(supervise, "READY_WITHIN", 0.2)
    desk.supervisor.start([portless("silent", "import time; time.sleep(60)")])
    with pytest.raises(StackError, match="silent was not ready"):
        desk.supervisor.wait_ready(["worker", "silent"])


def test_what_a_child_said_before_it_ended_does_not_make_the_next_one_ready(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "FIRST_PAUSE", 0.01)
    desk.supervisor.start([portless("worker", STARTS)])
    desk.supervisor.wait_ready(["worker"])
    log, child = desk.folder.log("worker"), desk.supervisor._children["worker"]
    said = log.stat().st_size
    child.pause = 0.01
    child.process.kill()

    desk.watch_until_one_is_back()
    assert desk.said[0].startswith("worker ended with SIGKILL; its log is")  # no port to name
    second = desk.records["worker"]
    assert second.log_start == said
    assert is_ready(second, log)
    log.write_bytes(log.read_bytes()[:said])
    assert not is_ready(second, log)


def test_pauses_grow_until_a_child_is_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(supervise, "LONGEST_PAUSE", 0.04)
    monkeypatch.setattr(supervise, "TICK", 0.01)
    # Fails three times, then serves.
    code = (
        "import pathlib, sys; tries = pathlib.Path('tries');"
        " n = int(tries.read_text()) if tries.exists() else 0; tries.write_text(str(n + 1));"
        f" exec({SERVE!r}) if n >= 3 else sys.exit('not yet')"
    )
    flaky = program("flaky", code)
    desk.supervisor.start([flaky])
    desk.supervisor._children["flaky"].pause = 0.01
    desk.watch_until_one_is_back()
    pauses = [
        found.group(1) for line in desk.said if (found := re.search(r"again in (\S+) s", line))
    ]
    assert pauses == ["0.01", "0.02", "0.04"]
    assert desk.said[-1] == "flaky is back"


def test_children_end_from_the_front_to_the_back(desk: Desk) -> None:
    stages = (Stage.SERVERS, Stage.GATEWAY, Stage.SERVICES)
    programs = [program(stage, SERVE, stage) for stage in stages]
    desk.supervisor.start(programs)
    desk.supervisor.wait_ready([each.name for each in programs])
    assert set(desk.records) == set(stages)
    assert desk.supervisor.stop() == [Stage.GATEWAY, Stage.SERVICES, Stage.SERVERS]


def test_a_child_that_will_not_end_is_killed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "END_WITHIN", 0.1)
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SERVE}"
    desk.supervisor.start([program("deaf", deaf)])
    desk.supervisor.wait_ready(["deaf"])
    assert desk.supervisor.stop() == ["deaf"]
    assert desk.supervisor._children["deaf"].process.returncode == -signal.SIGKILL


def test_a_signal_waits_for_a_step_that_must_be_whole_and_comes_once(desk: Desk) -> None:
    steps: list[str] = []

    def whole_step() -> None:
        with desk.interrupts.held():
            signal.raise_signal(signal.SIGTERM)
            steps.append("whole")

    with pytest.raises(StopRequested):
        whole_step()
    signal.raise_signal(signal.SIGINT)  # the way out is not disturbed
    assert steps == ["whole"]


def test_logs_of_the_start_before_are_kept_once(desk: Desk) -> None:
    desk.folder.log("idle").write_text("of the last start\n")
    desk.supervisor.start([program("idle", "print('of this one', flush=True)")])
    wait_for(lambda: "of this one" in desk.folder.log("idle").read_text(), "this one's line")
    assert (desk.folder.logs / "idle.log.1").read_text() == "of the last start\n"
