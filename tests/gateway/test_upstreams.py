"""Upstreams: requests go round the targets that take them, and a process that goes costs none."""

import contextlib
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import psutil
import pytest
import yaml

from services.local.children import free_port, start, stop
from tests.gateway.conftest import LISTEN_HOST, UPSTREAM_HOST
from tests.gateway.envelope import assert_own_error
from tests.gateway.nodes import ROOT
from tests.gateway.policy import KONG_YML, service
from tests.gateway.target_health import states
from tools.gateway_node import Document, Node
from tools.waiting import wait_for
from tools.wire import Answer

PATH = "/balanced"
CHECKS: Document = yaml.safe_load(KONG_YML.read_text("utf-8"))["upstreams"][0]["healthchecks"]


class Target:
    """One process of the service behind the upstream."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self.start()

    def start(self) -> None:
        """Start it; return when it listens."""
        program = [sys.executable, "-m", "tests.gateway.target_process", LISTEN_HOST]
        self.process: Popen[bytes] = start(
            [*program, str(self.port)],
            log=self._folder / f"{self.port}.log",
            folder=ROOT,
            environment={},
        )
        wait_for(self._listens, f"target at {self.port}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; after SIGKILL it is gone, after SIGSTOP it does nothing any more."""
        self.process.send_signal(number)
        if number is signal.SIGKILL:
            self.process.wait()
        if number is signal.SIGSTOP:
            state = psutil.Process(self.process.pid).status
            wait_for(lambda: state() == psutil.STATUS_STOPPED, "the target stands still")

    def end(self) -> None:
        """End it, stopped or not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        stop(self.process, signal.SIGKILL, within=5)

    @property
    def address(self) -> str:
        """Where the gateway finds it."""
        return f"{UPSTREAM_HOST}:{self.port}"

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


class Site:
    """Two targets, and a gateway with an upstream of them."""

    def __init__(self, node: Node, policy: Document, targets: list[Target]) -> None:
        self.node = node
        self.targets = targets
        upstream = {
            "name": "balanced",
            "healthchecks": CHECKS,
            "targets": [{"target": each.address} for each in targets],
        }
        waits = {"connect_timeout": 1000, "write_timeout": 1000, "read_timeout": 2500}
        self.document = {
            **policy,
            "upstreams": [*policy["upstreams"], upstream],
            "services": [
                *policy["services"],
                service("balanced", "http://balanced", PATH, **waits, retries=1),
            ],
        }

    def ask(self, method: str = "GET", path: str = PATH) -> Answer:
        """Send one request."""
        return self.node.ask(method, path, body=b"{}" if method == "POST" else b"")

    def asked(self, count: int, method: str = "GET") -> Counter[int]:
        """Send requests that must all succeed; return how many each target answered."""
        answers = [self.ask(method) for _ in range(count)]
        assert [each.status for each in answers] == [200] * count
        return Counter(int(each.body) for each in answers)


@pytest.fixture
def site(
    node: Node,
    policy: Document,
    publish: Callable[[Document | str], None],
    tmp_path: Path,
) -> Iterator[Site]:
    targets = [Target(tmp_path) for _ in range(2)]
    made = Site(node, policy, targets)
    publish(made.document)
    try:
        yield made
    finally:
        for each in targets:
            each.end()


def test_requests_go_round_the_targets(site: Site) -> None:
    assert site.asked(20) == {each.port: 10 for each in site.targets}
    assert site.asked(20, "POST") == {each.port: 10 for each in site.targets}


def test_no_request_comes_on_a_connection_of_a_check(site: Site) -> None:
    def is_checked() -> bool:
        return all(site.ask(path=f"{PATH}/checked").status == 200 for _ in range(4))

    wait_for(is_checked, "a check of both")
    site.asked(8)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_target_that_is_killed_gets_nothing_and_no_request_fails(site: Site, method: str) -> None:
    gone, left = site.targets
    site.asked(4, method)  # both have connections that are kept
    gone.send(signal.SIGKILL)
    assert site.asked(40, method) == {left.port: 40}


def test_a_target_that_is_back_gets_requests_again(site: Site) -> None:
    gone, left = site.targets
    gone.send(signal.SIGKILL)
    assert site.asked(4) == {left.port: 4}
    gone.start()
    wait_for(lambda: site.asked(2).keys() == {gone.port, left.port}, "requests to both")


def test_a_target_that_leaves_gets_no_new_requests_though_it_serves(site: Site) -> None:
    leaving, left = site.targets
    leaving.send(signal.SIGUSR1)
    wait_for(lambda: site.asked(10) == {left.port: 10}, "no requests to the one that leaves")


def test_without_a_target_callers_are_told_that_the_service_is_not_available(site: Site) -> None:
    for each in site.targets:
        each.send(signal.SIGKILL)
    wait_for(lambda: site.ask("POST").status == 503, "no target left")
    message = "The service is not available; try again"
    assert_own_error(site.ask("POST"), 503, "SERVICE_UNAVAILABLE", message)


def test_a_target_that_answers_503_goes_on_getting_requests(site: Site) -> None:
    for _ in range(10):  # as a service without PostgreSQL does, where its caches can't answer
        assert site.ask(path=f"{PATH}/503").status == 503
    assert site.asked(20) == {each.port: 10 for each in site.targets}


def test_a_target_that_hangs_makes_one_request_wait_and_gets_no_other(site: Site) -> None:
    hung, left = site.targets
    site.asked(4)
    hung.send(signal.SIGSTOP)
    assert site.asked(40) == {left.port: 40}
    hung.send(signal.SIGCONT)
    wait_for(lambda: site.asked(2).keys() == {hung.port, left.port}, "requests to both")


def test_a_new_configuration_does_not_bring_a_dead_target_back(site: Site) -> None:
    gone, left = site.targets
    gone.send(signal.SIGKILL)
    assert site.asked(10, "POST") == {left.port: 10}
    site.node.publish({**site.document, "_ignore": ["another text"]})
    assert site.asked(10, "POST") == {left.port: 10}


def test_a_node_tells_prometheus_which_targets_get_requests(site: Site) -> None:
    gone, left = (each.address for each in site.targets)
    wait_for(
        lambda: states(site.node, "balanced") == {gone: "healthy", left: "healthy"}, "both healthy"
    )
    site.targets[0].send(signal.SIGKILL)
    wait_for(
        lambda: states(site.node, "balanced") == {gone: "unhealthy", left: "healthy"},
        "one unhealthy",
    )
