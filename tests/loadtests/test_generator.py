"""Generator: when the load generator is what is slow, the verdict says so and blames no build."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
LASTS = 120.0  # seconds; the load takes 14, the stack and the last webhooks some 15
STOPPED, RUNNING = 0.8, 0.1  # seconds in turn: most answers wait for the generator to look


@pytest.mark.long
@pytest.mark.timeout(LASTS + 30)
def test_a_generator_that_is_held_up_makes_the_verdict_invalid(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtests", "--profile", "smoke", "--seconds", "8"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as kit:
        hold_up_locust(kit)
        printed, _ = kit.communicate(timeout=LASTS)
    assert kit.returncode == 2, printed
    assert "\nINVALID:\n  the load generator was the limit: its event loop was" in printed


def hold_up_locust(kit: subprocess.Popen[str]) -> None:
    """Stop the kit's load generator again and again, until the end of its run."""
    deadline = time.monotonic() + LASTS
    while (found := _locust_of(kit.pid)) is None:
        assert kit.poll() is None, kit.communicate()[0]
        assert time.monotonic() < deadline, "no locust"
        time.sleep(0.05)
    while _send(found, signal.SIGSTOP):
        time.sleep(STOPPED)
        _send(found, signal.SIGCONT)
        time.sleep(RUNNING)


def _send(pid: int, what: signal.Signals) -> bool:
    """Send a signal; say whether the process is still there, and no zombie."""
    try:
        os.kill(pid, what)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _locust_of(pid: int) -> int | None:
    """Return the child of a process that runs locust."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"locust" in words:
            return int(child)
    return None
