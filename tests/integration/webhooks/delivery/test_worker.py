"""The worker between a wake-up and the record of what it sent; the receiver is a stand-in."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

import psycopg
import pytest

from services.core.encryption import SecretBox, make_master_key
from services.webhooks.delivery.claims import Claim
from services.webhooks.delivery.leases import Leases
from services.webhooks.delivery.outcome import Answer, AttemptOutcome, NoAnswer
from services.webhooks.delivery.sender import Sender
from services.webhooks.delivery.store import Store
from services.webhooks.delivery.worker import TURN, DeliveryWorker, OnAttempt
from services.webhooks.faults import OnFault, ignore_fault
from services.webhooks.secrets import new_secret
from tests.webhook_rows import WebhookRows


@dataclass
class Receiver:
    """Stands in for Sender: keeps what was sent, answers as told."""

    answer: Callable[[], Answer | NoAnswer] = lambda: Answer(200)
    bodies: list[dict[str, object]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    closed: int = 0

    def send(self, _url: str, body: bytes, headers: Mapping[str, str]) -> Answer | NoAnswer:
        self.bodies.append(json.loads(body))
        self.headers.append(headers)
        return self.answer()

    def close(self) -> None:
        self.closed += 1


@dataclass
class Work:
    """A worker with what is around it."""

    worker: DeliveryWorker
    receiver: Receiver
    woken: list[UUID]
    stopping: threading.Event
    endpoint: UUID
    held: "Held"


@dataclass
class Held:
    """Stands in for Leases: what is held now, and how often something was."""

    now: list[UUID] = field(default_factory=list)
    times: int = 0

    def hold(self, claim: Claim) -> None:
        self.now.append(claim.event_id)
        self.times += 1

    def leave(self, claim: Claim) -> None:
        self.now.remove(claim.event_id)


@pytest.fixture
def box() -> SecretBox:
    return SecretBox(make_master_key())


@pytest.fixture
def work(rows: WebhookRows, store: Store, box: SecretBox) -> Work:
    endpoint = rows.endpoint(rows.partner())
    rows.run("UPDATE {env}.endpoints SET secret = %s", [box.seal(new_secret())])
    return working(store, box, endpoint)


def working(
    store: Store,
    box: SecretBox,
    endpoint: UUID,
    *,
    on_attempt: OnAttempt = lambda _claim, _decision, _state: None,
    on_fault: OnFault = ignore_fault,
    make_sender: Callable[[], Sender] | None = None,
) -> Work:
    receiver, woken, stopping = Receiver(), list[UUID](), threading.Event()
    held = Held()
    worker = DeliveryWorker(
        store,
        box,
        leases=cast("Leases", held),
        make_sender=make_sender or (lambda: cast("Sender", receiver)),
        wake=woken.append,
        stopping=stopping,
        on_attempt=on_attempt,
        on_fault=on_fault,
    )
    return Work(worker, receiver, woken, stopping, endpoint, held)


def test_a_wake_up_sends_all_that_is_due(rows: WebhookRows, work: Work) -> None:
    events = [rows.delivery(work.endpoint, due_in=f"{-9 + place} s") for place in range(3)]
    work.worker.send_due(str(work.endpoint))
    assert [body["event_id"] for body in work.receiver.bodies] == [str(event) for event in events]
    assert {body["retry_count"] for body in work.receiver.bodies} == {0}
    assert set(rows.states(work.endpoint).values()) == {"delivered"}
    assert work.woken == []


def test_a_wake_up_for_nothing_does_nothing(rows: WebhookRows, work: Work) -> None:
    work.worker.send_due(str(work.endpoint))
    work.worker.send_due("00000000-0000-4000-8000-000000000000")
    assert work.receiver.bodies == []


def test_after_a_turn_others_come_first(rows: WebhookRows, work: Work) -> None:
    for _ in range(TURN + 1):
        rows.delivery(work.endpoint)
    work.worker.send_due(str(work.endpoint))
    assert len(work.receiver.bodies) == TURN
    assert work.woken == [work.endpoint]
    assert list(rows.states(work.endpoint).values()).count("sending") == 0


def test_a_worker_that_stops_finishes_what_it_sends_and_claims_no_more(
    rows: WebhookRows, work: Work
) -> None:
    for _ in range(3):
        rows.delivery(work.endpoint)

    def answer() -> Answer:
        work.stopping.set()
        return Answer(204)

    work.receiver.answer = answer
    work.worker.send_due(str(work.endpoint))
    assert sorted(rows.states(work.endpoint).values()) == ["delivered", "pending", "pending"]


def test_a_failed_attempt_is_recorded_and_the_next_delivery_goes_on(
    rows: WebhookRows, work: Work
) -> None:
    first = rows.delivery(work.endpoint, due_in="-1 s")
    second = rows.delivery(work.endpoint)
    answers = iter([NoAnswer(AttemptOutcome.CONNECTION_FAILED, "refused"), Answer(200)])
    work.receiver.answer = lambda: next(answers)
    work.worker.send_due(str(work.endpoint))
    assert rows.states(work.endpoint) == {first: "retrying", second: "delivered"}
    detail = rows.one("SELECT detail FROM {env}.attempts WHERE outcome = 'connection_failed'")
    assert detail == "refused"


def test_a_retry_says_which_one_it_is_with_the_same_id(rows: WebhookRows, work: Work) -> None:
    event = rows.delivery(work.endpoint)
    for answer in (Answer(500), Answer(302), Answer(200)):
        work.receiver.answer = lambda answer=answer: answer
        work.worker.send_due(str(work.endpoint))
        rows.run("UPDATE {env}.deliveries SET next_attempt_at = now() WHERE state = 'retrying'")
    assert [body["retry_count"] for body in work.receiver.bodies] == [0, 1, 2]
    assert {body["event_id"] for body in work.receiver.bodies} == {str(event)}
    assert {headers["webhook-id"] for headers in work.receiver.headers} == {str(event)}


@pytest.mark.parametrize(
    ("simulation", "calls", "recorded"),
    [
        ("timeout", 0, ("retrying", "timeout")),
        ("server_error", 0, ("retrying", "http_error")),
        ("duplicate", 2, ("delivered", "delivered")),
    ],
)
def test_a_simulation_is_recorded_as_asked(
    rows: WebhookRows, work: Work, simulation: str, calls: int, recorded: tuple[str, str]
) -> None:
    rows.run("UPDATE {env}.endpoints SET simulation = %s, simulations_left = 1", [simulation])
    rows.delivery(work.endpoint)
    work.worker.send_due(str(work.endpoint))
    assert len(work.receiver.bodies) == calls
    found = rows.run(
        "SELECT state, outcome FROM {env}.deliveries JOIN {env}.attempts USING (event_id)"
    )
    assert found == [recorded]


class Unreliable:
    """A store whose database goes away when a record is written."""

    def __init__(self, store: Store, failures: int) -> None:
        self._store = store
        self.failures = failures
        self.claim = store.claim

    def record_delivered(self, *args: object, **options: object) -> object:
        if self.failures > 0:
            self.failures -= 1
            raise psycopg.OperationalError
        return self._store.record_delivered(*args, **options)  # pyright: ignore


def test_an_outcome_is_recorded_when_the_database_is_back(
    rows: WebhookRows, store: Store, box: SecretBox
) -> None:
    endpoint = rows.endpoint(rows.partner())
    rows.run("UPDATE {env}.endpoints SET secret = %s", [box.seal(new_secret())])
    event = rows.delivery(endpoint)
    unreliable = Unreliable(store, failures=3)
    counted: list[dict[UUID, str]] = []
    work = working(
        cast("Store", unreliable),
        box,
        endpoint,
        on_attempt=lambda _claim, _decision, _state: counted.append(rows.states(endpoint)),
    )
    work.worker.send_due(str(endpoint))
    assert unreliable.failures == 0
    assert rows.states(endpoint) == {event: "delivered"}
    assert counted == [{event: "delivered"}]  # not before it was recorded
    assert len(work.receiver.bodies) == 1


def test_no_database_is_no_reason_to_fail(box: SecretBox) -> None:
    class Away:
        def claim(self, _endpoint: UUID) -> None:
            raise psycopg.OperationalError

    endpoint = UUID(int=1)
    working(cast("Store", Away()), box, endpoint).worker.send_due(str(endpoint))


def test_each_threads_connections_are_closed_at_the_end(rows: WebhookRows, work: Work) -> None:
    for _ in range(2):
        rows.delivery(work.endpoint)
        thread = threading.Thread(target=work.worker.send_due, args=[str(work.endpoint)])
        thread.start()
        thread.join(timeout=10)
    assert len(work.receiver.bodies) == 2
    work.worker.close()
    assert work.receiver.closed == 2


def test_a_claim_is_held_while_it_is_sent_and_left_whatever_happens(
    rows: WebhookRows, work: Work
) -> None:
    event = rows.delivery(work.endpoint)
    seen: list[UUID] = []

    def answer() -> Answer:
        seen.extend(work.held.now)
        msg = "a bug of ours"
        raise RuntimeError(msg)

    work.receiver.answer = answer
    work.worker.send_due(str(work.endpoint))
    assert seen == [event]
    assert work.held.now == []
    assert work.held.times == 1
