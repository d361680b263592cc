"""What the programs in the background count and show."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from services.core.http.health import DependencyState, Readiness
from services.domain.webhooks.states import DeliveryState
from services.webhooks.delivery.claims import Claim
from services.webhooks.delivery.outcome import AttemptOutcome
from services.webhooks.monitoring import health
from services.webhooks.monitoring.counts import AttemptCounts, ReceiptTimes
from services.webhooks.monitoring.health import ProcessHealth
from services.webhooks.monitoring.listener import Listener, ListenerError, make_paths
from services.webhooks.monitoring.loops import LATE, Loops
from services.webhooks.monitoring.messages import MessageCounts
from services.webhooks.queue import ACTOR, Lane, QueueAwayError
from tests.clock import Clock

NOW = datetime(2026, 7, 1, tzinfo=UTC)
CLAIM = Claim(
    endpoint_id=UUID(int=1),
    event_id=UUID(int=2),
    series=1,
    attempt=1,
    claimed_at=NOW,
    event_type="inventory.updated",
    occurred_at=NOW,
    data="{}",
    request_id=None,
    url="https://shop.example",
    secret=b"",
    previous_secret=None,
    simulation=None,
)


def received(registry: CollectorRegistry, attempt: str) -> tuple[float | None, float | None]:
    """Return how many receipts there were, and the sum of their seconds."""
    name, labels = "webhook_commit_to_receipt_seconds", {"attempt": attempt}
    return (
        registry.get_sample_value(f"{name}_count", labels),
        registry.get_sample_value(f"{name}_sum", labels),
    )


def test_a_receipt_is_measured_from_the_change_on_by_first_and_later_attempts() -> None:
    registry = CollectorRegistry()
    times = ReceiptTimes(registry)
    times.received(CLAIM, NOW + timedelta(seconds=2))
    times.received(msgspec.structs.replace(CLAIM, attempt=3), NOW + timedelta(seconds=40))
    assert received(registry, "first") == (1, 2)
    assert received(registry, "later") == (1, 40)


def test_a_replay_says_nothing_of_how_long_deliveries_take() -> None:
    registry = CollectorRegistry()
    ReceiptTimes(registry).received(
        msgspec.structs.replace(CLAIM, series=2), NOW + timedelta(days=6)
    )
    assert received(registry, "first") == received(registry, "later") == (0, 0)


def test_a_clock_that_is_behind_makes_no_negative_time() -> None:
    registry = CollectorRegistry()
    ReceiptTimes(registry).received(CLAIM, NOW - timedelta(seconds=1))
    assert received(registry, "first") == (1, 0)


def test_attempts_are_counted_by_outcome_and_given_up_ones_besides() -> None:
    registry = CollectorRegistry()
    counts = AttemptCounts(registry)
    counts.count(AttemptOutcome.DELIVERED, DeliveryState.DELIVERED)
    counts.count(AttemptOutcome.TIMEOUT, DeliveryState.RETRYING)
    counts.count(AttemptOutcome.TIMEOUT, DeliveryState.EXHAUSTED)
    counts.count(AttemptOutcome.TIMEOUT, None)
    value = registry.get_sample_value
    assert value("webhook_attempts_total", {"outcome": "delivered"}) == 1
    assert value("webhook_attempts_total", {"outcome": "timeout"}) == 3
    assert value("webhook_exhausted_total") == 1


def test_dramatiqs_messages_are_counted_and_timed() -> None:
    registry, clock = CollectorRegistry(), Clock()
    counts = MessageCounts(registry, clock=clock)
    message = SimpleNamespace(queue_name=str(Lane.SLOW))
    labels = {"queue_name": Lane.SLOW, "actor_name": ACTOR}

    def value(name: str) -> float | None:
        return registry.get_sample_value(f"dramatiq_{name}", labels)

    counts.before_process_message(None, message)
    assert value("messages_inprogress") == 1
    clock.now += 0.5
    counts.after_process_message(None, message, exception=RuntimeError())
    counts.after_nack(None, message)
    assert value("messages_inprogress") == 0
    assert value("message_duration_milliseconds_sum") == 500
    assert value("messages_total") == 1
    assert value("message_errors_total") == 1
    assert value("message_rejects_total") == 1


def test_a_loop_runs_as_long_as_its_rounds_come() -> None:
    clock = Clock()
    loops = Loops(clock)
    loop = loops.add("relay", pause=60)
    clock.now += 60 + LATE - 1
    assert loops.running() == {"relay": True}
    clock.now += 1
    assert loops.running() == {"relay": False}
    loop.done()
    assert loops.running() == {"relay": True}


class Wakeups:
    """Valkey that answers, or does not."""

    def __init__(self) -> None:
        self.is_away = False

    def waiting(self, _lane: Lane) -> int:
        if self.is_away:
            raise QueueAwayError
        return 0


class Process:
    """The health of a process whose parts a test takes away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.wakeups = Clock(), Wakeups()
        self.is_leaving = self.is_database_away = False
        loops = Loops(self.clock)
        self.loop = loops.add("relay", pause=1)
        given: Any = {"database_url": "", "wakeups": self.wakeups}
        self.health = ProcessHealth(loops, leaving=lambda: self.is_leaving, **given)
        monkeypatch.setattr(health.psycopg, "connect", self._connect)

    def look(self) -> tuple[int, str]:
        """Return the status of HTTP, and the word."""
        status, body = self.health.look()
        return status, json.loads(body)["status"]

    @contextmanager
    def _connect(self, *_: object, **__: object) -> Generator[Any]:
        if self.is_database_away:
            raise health.psycopg.OperationalError
        yield SimpleNamespace(execute=lambda _statement: None)


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    return Process(monkeypatch)


def test_a_process_whose_parts_all_answer_is_ready(process: Process) -> None:
    assert process.look() == (200, "ready")


def test_without_valkey_a_process_is_degraded_and_goes_on(process: Process) -> None:
    process.wakeups.is_away = True
    assert process.look() == (200, "degraded")


def test_without_postgresql_or_with_a_loop_that_hangs_it_is_not_ready(process: Process) -> None:
    process.is_database_away = True
    assert process.look() == (503, "unavailable")
    process.is_database_away = False
    process.clock.now += 1 + LATE
    assert process.look() == (503, "unavailable")


def test_a_process_that_ends_says_so(process: Process) -> None:
    process.is_leaving = True
    assert process.look() == (503, "leaving")


def test_health_has_the_words_that_the_http_services_have(process: Process) -> None:
    words = {process.look()[1]}
    process.wakeups.is_away = True
    words.add(process.look()[1])
    process.is_database_away = True
    words.add(process.look()[1])
    process.is_leaving = True
    words.add(process.look()[1])
    assert words == set(Readiness)
    assert {health.UP, health.DOWN} == set(DependencyState)


def ask(port: int, path: str) -> tuple[int, str, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.headers["Content-Type"], exc.read()


def test_a_request_for_an_upgrade_is_one_request_to_the_listener() -> None:
    listener = Listener("127.0.0.1", 0, make_paths(lambda: b"up 1\n", lambda: (503, b"{}")))
    listener.start()
    hidden = b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    try:
        with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as connection:
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(hidden))
            with connection.makefile("rb") as answer:
                assert answer.readline().startswith(b"HTTP/1.0 200 ")  # 1.0: it ends then
                assert b"HTTP/1." not in answer.read()
    finally:
        listener.close()


def test_the_listener_answers_three_paths_and_no_other() -> None:
    listener = Listener("127.0.0.1", 0, make_paths(lambda: b"up 1\n", lambda: (503, b"{}")))
    listener.start()
    try:
        assert ask(listener.port, "/metrics")[::2] == (200, b"up 1\n")
        assert ask(listener.port, "/health/live")[0] == 200
        assert ask(listener.port, "/health/ready") == (503, "application/json", b"{}")
        assert ask(listener.port, "/etc/passwd")[0] == 404
        with pytest.raises(ListenerError, match=f"127.0.0.1, port {listener.port}"):
            Listener("127.0.0.1", listener.port, {})
    finally:
        listener.close()
