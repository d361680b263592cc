"""Locustfile: the load of one run; loadtests/run.py starts it and tells it its plan in a file."""

import os
import time
from pathlib import Path
from typing import Any

import gevent
import msgspec
from locust import LoadTestShape
from locust import events as locust_events
from locust.runners import Runner

from loadtests.asking import Asking, Running, note_unanswered
from loadtests.plan import Plan
from loadtests.records import Generator, Outcome, Recorder, Request
from loadtests.scenarios import SCENARIOS

PLAN = "LOADTEST_PLAN"
BEAT = 0.05  # seconds
events: Any = locust_events  # its listeners have no types

Running.plan = msgspec.json.decode(Path(os.environ[PLAN]).read_bytes(), type=Plan)
Running.recorder = Recorder(Path(Running.plan.samples))
Running.watched = {name: frozenset(ids) for name, ids in Running.plan.changing.items()}


def _mixed() -> dict[str, type[Asking]]:
    """Return the user classes of this run, with as many users each as the profile mixes."""
    found: dict[str, type[Asking]] = {}
    for name, users in Running.plan.profile.mix.items():
        scenario = SCENARIOS[name]  # plan.load_profiles has looked whether it is there
        scenario.weight = users
        scenario.host = Running.plan.target.host
        found[scenario.__name__] = scenario
    return found


# Locust takes the user classes that it finds in this module, under any name: each only once.
globals().update(_mixed())


class Shape(LoadTestShape):
    """As many users as the profile says."""

    def tick(self) -> tuple[int, float] | None:
        """Return how many users there are to be, and how fast they come."""
        users = Running.plan.profile.users_at(self.get_run_time())
        return None if users is None else (users, 1000.0)


@events.test_start.add_listener
def _begin(environment: Any, **_: Any) -> None:  # noqa: ANN401 -- locust's, untyped
    Running.recorder.begin()
    Running.runner = environment.runner
    gevent.spawn(_watch_itself, environment.runner)


@events.user_error.add_listener
def _failed(user_instance: Asking, exception: Exception, **_: Any) -> None:  # noqa: ANN401
    """Note a fault of a scenario's own code: locust would only log it."""
    told = f"the scenario itself failed: {exception!r}"
    name = user_instance.scenario
    Running.recorder.note(Request(time.time(), 0.0, name, 0, Outcome.ERROR, told))


@events.quitting.add_listener
def _end(**_: Any) -> None:  # noqa: ANN401 -- locust's, untyped
    note_unanswered()
    Running.recorder.flush()


def _watch_itself(runner: Runner) -> None:
    """Note how late the event loop is, and how much of its core the process takes."""
    lags: list[float] = []
    wall, cpu = time.perf_counter(), time.process_time()
    while True:
        began = time.perf_counter()
        gevent.sleep(BEAT)
        now = time.perf_counter()
        lags.append(now - began - BEAT)
        if now - wall >= 1:
            used = time.process_time()
            share = (used - cpu) / (now - wall)
            Running.recorder.note(Generator(time.time(), share, lags, runner.user_count))
            Running.recorder.flush()
            lags, wall, cpu = [], now, used
