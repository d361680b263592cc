"""Asking: a request whose user ends. In a process of its own: locust patches what loads it."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPT = """
import sys, time
import gevent
from loadtests.asking import Running, note_unanswered, under_way

class Recorder:
    def note(self, each):
        print(each.scenario, each.detail)

def ask(ago, name):
    with under_way(time.time() - ago, name):
        gevent.sleep(60)

Running.recorder = Recorder()
asking = [gevent.spawn(ask, float(each), "asked") for each in sys.argv[2:]]
gevent.sleep(0)
if sys.argv[1] == "killed":
    gevent.killall(asking)
note_unanswered()
"""
GIVEN_UP = "asked no answer: it was under way when its user ended\n"


@pytest.mark.parametrize("ending", ["killed", "left"])
@pytest.mark.parametrize(("ago", "noted"), [("0", ""), ("5", GIVEN_UP)])
def test_only_a_request_that_had_its_time_is_called_unanswered(
    ending: str, ago: str, noted: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, ending, ago],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == (noted, 0), done.stderr
