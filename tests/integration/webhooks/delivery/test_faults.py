"""A fault of ours at each step of an attempt costs the partner no attempt and no mail (W9)."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from services.core.encryption import SecretBox, make_master_key
from services.webhooks.delivery import worker as worker_module
from services.webhooks.delivery.claims import LONGEST_PAUSE_IN_DOUBT, LONGEST_PAUSE_UNSENT
from services.webhooks.delivery.outcome import Answer, InDoubt, NotSent
from services.webhooks.delivery.sender import NotSentError, Sender
from services.webhooks.delivery.store import Store
from services.webhooks.faults import FaultStep
from services.webhooks.secrets import new_secret
from tests.integration.webhooks.delivery.test_worker import Work, working
from tests.webhook_rows import WebhookRows

OLD, NEW = make_master_key(), make_master_key()
IN_DOUBT = (FaultStep.SEND, FaultStep.RECORD)


class BugError(Exception):
    """A mistake in our code."""


def bug(*_args: object, **_options: object) -> Sender:
    raise BugError


@dataclass
class Fault:
    """A fault that a test makes, and how it is removed."""

    step: FaultStep
    make: Callable[["Scene"], None]
    remove: Callable[["Scene"], None]


@dataclass
class Scene:
    rows: WebhookRows
    store: Store
    patch: pytest.MonkeyPatch
    endpoint: UUID
    steps: list[FaultStep] = field(default_factory=list)
    keys: str = OLD
    make_sender: Callable[[], Sender] | None = None
    answer: Callable[[], Answer] = lambda: Answer(200)

    def send_due(self) -> Work:
        """Let a worker that starts now take a wake-up."""
        work = working(
            self.store,
            SecretBox(self.keys),
            self.endpoint,
            on_fault=self.steps.append,
            make_sender=self.make_sender,
        )
        work.receiver.answer = self.answer
        work.worker.send_due(str(self.endpoint))
        return work

    def make_due(self) -> None:
        self.rows.run("UPDATE {env}.deliveries SET next_attempt_at = now()")

    def raise_in(self, name: str) -> None:
        self.patch.setattr(worker_module, name, bug)

    def seal_with(self, keys: str) -> None:
        sealed = SecretBox(keys).seal(new_secret())
        self.rows.run("UPDATE {env}.endpoints SET secret = %s", [sealed])


def not_sent() -> Answer:
    raise NotSentError from OSError(24, "no file left")


FAULTS = {
    "decrypt": Fault(
        FaultStep.DECRYPT,
        lambda scene: scene.seal_with(NEW),
        lambda scene: setattr(scene, "keys", f"{OLD},{NEW}"),
    ),
    "render": Fault(
        FaultStep.RENDER,
        lambda scene: scene.raise_in("render_payload"),
        lambda scene: scene.patch.undo(),
    ),
    "sign": Fault(
        FaultStep.SIGN,
        lambda scene: scene.raise_in("signature_headers"),
        lambda scene: scene.patch.undo(),
    ),
    "no sender": Fault(
        FaultStep.CONNECT,
        lambda scene: setattr(scene, "make_sender", bug),
        lambda scene: setattr(scene, "make_sender", None),
    ),
    "sender, before a byte": Fault(
        FaultStep.CONNECT,
        lambda scene: setattr(scene, "answer", not_sent),
        lambda scene: setattr(scene, "answer", lambda: Answer(200)),
    ),
    "sender, after a byte": Fault(
        FaultStep.SEND,
        lambda scene: setattr(scene, "answer", bug),
        lambda scene: setattr(scene, "answer", lambda: Answer(200)),
    ),
    "record of a success": Fault(
        FaultStep.RECORD,
        lambda scene: scene.rows.run("REVOKE INSERT ON {env}.attempts FROM sandbox_webhooks"),
        lambda scene: scene.rows.run("GRANT INSERT ON {env}.attempts TO sandbox_webhooks"),
    ),
    "record of a failure": Fault(
        FaultStep.RECORD,
        lambda scene: (
            setattr(scene, "answer", lambda: Answer(500)),
            scene.rows.run("REVOKE INSERT ON {env}.attempts FROM sandbox_webhooks"),
        ),
        lambda scene: (
            setattr(scene, "answer", lambda: Answer(200)),
            scene.rows.run("GRANT INSERT ON {env}.attempts TO sandbox_webhooks"),
        ),
    ),
}
each_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)


@pytest.fixture
def scene(rows: WebhookRows, store: Store) -> Scene:
    scene = Scene(rows, store, pytest.MonkeyPatch(), rows.endpoint(rows.partner()))
    scene.seal_with(OLD)
    return scene


@each_fault
def test_a_fault_of_ours_is_no_attempt_sends_no_mail_and_is_delivered_once_it_is_removed(
    rows: WebhookRows, scene: Scene, fault: Fault
) -> None:
    before = rows.endpoint_columns(scene.endpoint, "*")[:5]
    event = rows.delivery(scene.endpoint)
    fault.make(scene)
    times = 7  # more than there are attempts
    with capture_logs() as logs:
        for _ in range(times):
            scene.send_due()
            scene.make_due()
    assert rows.states(scene.endpoint) == {event: "pending"}
    assert rows.run("SELECT attempts, faults FROM {env}.deliveries") == [(0, times)]
    assert rows.run("SELECT 1 FROM {env}.attempts UNION ALL SELECT 1 FROM {env}.mails") == []
    assert rows.endpoint_columns(scene.endpoint, "*")[:5] == before
    troubles = rows.endpoint_columns(scene.endpoint, "failing_since, incident_since, slow_until")
    assert troubles == (None, None, None)
    assert scene.steps == [fault.step] * times
    told = [log for log in logs if log["event"] == "delivery.fault"]
    sent = "unknown" if fault.step in IN_DOUBT else "no"
    assert [(log["step"], log["sent"]) for log in told] == [(fault.step, sent)] * times

    fault.remove(scene)
    work = scene.send_due()
    assert [body["retry_count"] for body in work.receiver.bodies] == [0]
    assert rows.states(scene.endpoint) == {event: "delivered"}
    assert rows.run("SELECT number, outcome FROM {env}.attempts") == [(1, "delivered")]


@each_fault
def test_attempts_that_the_receiver_failed_are_counted_as_before(
    rows: WebhookRows, scene: Scene, fault: Fault
) -> None:
    event = rows.delivery(scene.endpoint)
    scene.answer = lambda: Answer(500)
    scene.send_due()
    scene.answer = lambda: Answer(200)
    fault.make(scene)
    scene.make_due()
    scene.send_due()
    assert rows.states(scene.endpoint) == {event: "retrying"}
    assert rows.run("SELECT attempts FROM {env}.deliveries") == [(1,)]
    fault.remove(scene)
    scene.make_due()
    assert [body["retry_count"] for body in scene.send_due().receiver.bodies] == [1]


@pytest.mark.parametrize(
    ("kind", "longest"),
    [(NotSent, LONGEST_PAUSE_UNSENT), (InDoubt, LONGEST_PAUSE_IN_DOUBT)],
)
def test_the_pause_doubles_with_each_fault_up_to_a_bound_and_begins_anew_after_an_attempt(
    rows: WebhookRows, scene: Scene, kind: type[NotSent | InDoubt], longest: timedelta
) -> None:
    rows.delivery(scene.endpoint)
    pauses: list[timedelta] = []
    for _ in range(12):
        scene.make_due()
        claim = scene.store.claim(scene.endpoint)
        assert claim is not None
        scene.store.release(claim, kind(FaultStep.SEND, BugError()))
        pauses += [rows.one("SELECT next_attempt_at - now() FROM {env}.deliveries")]
    assert timedelta(0) < pauses[0] <= timedelta(seconds=1)
    for before, after in itertools.pairwise(pauses):
        assert after > min(before * 1.5, longest - timedelta(seconds=1))
    assert longest - timedelta(seconds=1) < pauses[-1] <= longest
    scene.answer = lambda: Answer(500)
    scene.make_due()
    scene.send_due()
    assert rows.one("SELECT faults FROM {env}.deliveries") == 0


def test_one_delivery_that_cannot_be_rendered_does_not_hold_up_those_behind_it(
    rows: WebhookRows, scene: Scene
) -> None:
    render = worker_module.render_payload
    first = rows.delivery(scene.endpoint, due_in="-9 s")
    others = [rows.delivery(scene.endpoint, due_in=f"-{age} s") for age in range(1, 5)]

    def rendered(*, event_id: UUID, **options: object) -> bytes:
        if event_id == first:
            raise BugError
        return render(event_id=event_id, **options)  # type: ignore[arg-type]

    scene.patch.setattr(worker_module, "render_payload", rendered)
    scene.send_due()
    scene.patch.undo()
    assert rows.states(scene.endpoint) == {first: "pending"} | dict.fromkeys(others, "delivered")


def test_a_fault_of_the_whole_endpoint_ends_the_turn_and_wakes_nobody(
    rows: WebhookRows, scene: Scene
) -> None:
    for _ in range(3):
        rows.delivery(scene.endpoint)
    scene.seal_with(NEW)
    assert scene.send_due().woken == []
    assert scene.steps == [FaultStep.DECRYPT]


def test_a_release_that_fails_leaves_the_claim_to_the_scheduler(
    rows: WebhookRows, scene: Scene
) -> None:
    event = rows.delivery(scene.endpoint)
    scene.seal_with(NEW)
    scene.patch.setattr(scene.store, "release", bug)
    with capture_logs() as logs:
        scene.send_due()
    assert rows.states(scene.endpoint) == {event: "sending"}
    assert "delivery.not_released" in [log["event"] for log in logs]
