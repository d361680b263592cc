"""Worker: a wake-up names an endpoint; send what it has due, one delivery after the other.

An attempt ends in one of three ways: the receiver answered, or failed to; we failed before the
first byte went out; we failed after it. The first is recorded. The others release the claim.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar
from uuid import UUID

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from services.core.availability import Availability
from services.core.encryption import SecretBox
from services.domain.states import DeliveryState
from services.webhooks.delivery.claims import Claim
from services.webhooks.delivery.leases import Leases
from services.webhooks.delivery.outcome import (
    Answer,
    AttemptOutcome,
    Decision,
    Fault,
    InDoubt,
    NoAnswer,
    NotSent,
    Verdict,
    decide,
)
from services.webhooks.delivery.payload import render_payload
from services.webhooks.delivery.records import reason_of
from services.webhooks.delivery.sender import NotSentError, Sender
from services.webhooks.delivery.signatures import signature_headers
from services.webhooks.delivery.store import Store
from services.webhooks.faults import FaultStep, OnFault, ignore_fault
from services.webhooks.words import Simulation

TURN = 50  # deliveries of one endpoint before others have their turn
RECORD_WITHIN = 30.0  # seconds that an outcome is kept for a database that is away
AGAIN = 0.2  # seconds between attempts to record while the database is away
SECRETS_KEPT = 4_096  # opened secrets in memory; opening one takes 30 us
DATABASE_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)

T = TypeVar("T")
# After the record. The new state of a failed one is None when another has claimed the delivery, or
# nothing could be recorded.
OnAttempt = Callable[[Claim, Decision, DeliveryState | None], None]
log = structlog.get_logger()


class DeliveryWorker:
    """The body of the Dramatiq actor; every thread has a sender of its own."""

    def __init__(
        self,
        store: Store,
        box: SecretBox,
        *,
        leases: Leases,
        make_sender: Callable[[], Sender],
        wake: Callable[[UUID], object],
        stopping: threading.Event,
        on_attempt: OnAttempt = lambda _claim, _decision, _state: None,
        on_fault: OnFault = ignore_fault,
    ) -> None:
        """`wake` asks for another turn for an endpoint.

        `on_attempt` hears of each attempt, `on_fault` of each that a fault of ours ended.
        """
        self._store = store
        self._open = lru_cache(SECRETS_KEPT)(box.open)
        self._leases = leases
        self._make_sender = make_sender
        self._wake = wake
        self._stopping = stopping
        self._on_attempt = on_attempt
        self._on_fault = on_fault
        self._database = Availability("database", clock=time.monotonic)
        self._own = threading.local()
        self._senders: list[Sender] = []

    def send_due(self, endpoint_id: str) -> None:
        """Send what the endpoint has due; at most a turn's worth, then others come first."""
        endpoint = UUID(endpoint_id)
        try:
            claim = self._store.claim(endpoint)
        except DATABASE_AWAY as exc:
            self._database.failed(exc)  # the scheduler wakes the endpoint again
            return
        self._database.succeeded()
        for left in range(TURN, 0, -1):
            if claim is None:
                return
            self._leases.hold(claim)
            try:
                after = self._attempt(claim, last=left == 1)
            finally:
                self._leases.leave(claim)
            claim = after
        self._wake(endpoint)

    def close(self) -> None:
        """Close every thread's connections."""
        for sender in self._senders:
            sender.close()

    def _attempt(self, claim: Claim, *, last: bool) -> Claim | None:
        """Make one attempt and record it; return the next claim, if there is one to make."""
        began = time.monotonic()
        result = self._call(claim)
        seconds = time.monotonic() - began
        claim_next = not last and not self._stopping.is_set()
        if isinstance(result, NotSent | InDoubt):
            return self._release(claim, result, claim_next=claim_next)
        try:
            decision = decide(result, now=datetime.now(UTC))
            return self._record(claim, decision, seconds=seconds, claim_next=claim_next)
        except Exception as exc:  # noqa: BLE001 -- whatever it is, it is no fault of the receiver
            fault = InDoubt(FaultStep.RECORD, exc)
            return self._release(claim, fault, claim_next=claim_next)

    def _record(
        self, claim: Claim, decision: Decision, *, seconds: float, claim_next: bool
    ) -> Claim | None:
        until = time.monotonic() + RECORD_WITHIN
        if decision.verdict is Verdict.DELIVERED:
            log.info(
                "delivery.sent",
                status=decision.status,
                milliseconds=round(seconds * 1000),
                **_named(claim),
            )

            def record() -> Claim | None:
                after = self._store.record_delivered(
                    claim, decision, seconds=seconds, claim_next=claim_next
                )
                self._on_attempt(claim, decision, DeliveryState.DELIVERED)
                return after

            return self._recorded(record, until)
        state = self._recorded(
            lambda: self._store.record_failed(claim, decision, seconds=seconds), until
        )
        self._on_attempt(claim, decision, state)
        _log_failure(claim, decision, state)
        return self._claim_after_failure(claim.endpoint_id) if claim_next else None

    def _claim_after_failure(self, endpoint_id: UUID) -> Claim | None:
        with suppress(*DATABASE_AWAY):
            return self._store.claim(endpoint_id)
        return None

    def _release(self, claim: Claim, fault: Fault, *, claim_next: bool) -> Claim | None:
        """Release the claim of an attempt that we failed to make, and have the alarm raised.

        What follows it at the endpoint goes on at once if its own text was at fault; else the
        scheduler wakes the endpoint again, so that a fault that stays costs few claims.
        """
        self._on_fault(fault.step)
        sent = "no" if isinstance(fault, NotSent) else "unknown"
        log.error(
            "delivery.fault", step=fault.step, sent=sent, exc_info=fault.cause, **_named(claim)
        )
        until = time.monotonic() + RECORD_WITHIN
        try:
            self._recorded(lambda: self._store.release(claim, fault), until)
        except Exception:  # its lease lapses, and the scheduler releases it
            log.exception("delivery.not_released", **_named(claim))
            return None
        if claim_next and fault.step is FaultStep.RENDER:
            return self._claim_after_failure(claim.endpoint_id)
        return None

    def _call(self, claim: Claim) -> Answer | NoAnswer | Fault:
        """Call the endpoint, or pretend to, if a partner asked for that in the sandbox (A9)."""
        if claim.simulation == Simulation.TIMEOUT:
            return NoAnswer(AttemptOutcome.TIMEOUT, "simulated")
        if claim.simulation == Simulation.SERVER_ERROR:
            return Answer(500)
        if claim.simulation == Simulation.DUPLICATE:
            self._send(claim)
        return self._send(claim)

    def _send(self, claim: Claim) -> Answer | NoAnswer | Fault:
        step = FaultStep.DECRYPT
        try:
            sealed = (claim.secret, claim.previous_secret)
            secrets = [self._open(secret) for secret in sealed if secret is not None]
            step = FaultStep.RENDER
            body = render_payload(
                event_id=claim.event_id,
                event_type=claim.event_type,
                occurred_at=claim.occurred_at,
                data=claim.data,
                retry_count=claim.retry_count,
            )
            step = FaultStep.SIGN
            signatures = signature_headers(
                secrets, message_id=str(claim.event_id), timestamp=int(time.time()), body=body
            )
            step = FaultStep.CONNECT
            sender = self._sender()
        except Exception as exc:  # noqa: BLE001 -- whatever it is, nothing was sent
            return NotSent(step, exc)
        return _sent(sender, claim.url, body, signatures)

    def _sender(self) -> Sender:
        """Return this thread's sender: httpx.Client rescans its pool when threads share it."""
        sender: Sender | None = getattr(self._own, "sender", None)
        if sender is None:
            sender = self._own.sender = self._make_sender()
            self._senders.append(sender)
        return sender

    def _recorded(self, record: Callable[[], T], until: float) -> T | None:
        """Record, again and again while the database is away.

        When that fails the scheduler takes the attempt for one with an unknown outcome.
        """
        while True:
            try:
                found = record()
            except DATABASE_AWAY as exc:
                self._database.failed(exc)
                if time.monotonic() > until or self._stopping.wait(AGAIN * random.random()):  # noqa: S311 -- spreads the threads
                    return None
            else:
                self._database.succeeded()
                return found


def _sent(
    sender: Sender, url: str, body: bytes, headers: Mapping[str, str]
) -> Answer | NoAnswer | Fault:
    try:
        return sender.send(url, body, headers)
    except NotSentError as exc:
        return NotSent(FaultStep.CONNECT, exc)
    except Exception as exc:  # noqa: BLE001 -- whatever it is, it is no fault of the receiver
        return InDoubt(FaultStep.SEND, exc)


def _log_failure(claim: Claim, decision: Decision, state: DeliveryState | None) -> None:
    details = {**_named(claim), "reason": reason_of(decision)}
    if state is DeliveryState.EXHAUSTED:
        log.error("delivery.exhausted", **details)
    else:
        log.warning("delivery.failed", state=state, **details)


def _named(claim: Claim) -> dict[str, object]:
    """Return what every line of an attempt says; the request is that of the stock's change."""
    return {
        "request_id": claim.request_id,
        "endpoint_id": str(claim.endpoint_id),
        "event_id": str(claim.event_id),
        "attempt": claim.attempt,
    }
