"""Counts: what workers, scheduler and mailer add to as they go."""

from datetime import datetime
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Histogram

from services.domain.states import DeliveryState
from services.webhooks.delivery.claims import Claim
from services.webhooks.delivery.outcome import AttemptOutcome
from services.webhooks.faults import FaultStep

# Seconds. Partners are promised 5 (W6); a delivery without a queue before it takes 0.1, and the
# last retry begins after 13 minutes.
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 7.5, 10, 30, 60, 300, 900, 3600)


MADE = frozenset(AttemptOutcome) - {AttemptOutcome.UNKNOWN}


class MailOutcome(StrEnum):
    """How a try to send a mail ended; a fault of ours is counted as a fault."""

    SENT = "sent"
    FAILED = "failed"  # the server did not take it; it is tried again
    NO_ADDRESS = "no_address"  # the partner's contact can't be mailed; tried again, too


class FaultCounts:
    """Faults of our own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Make them, at zero."""
        faults = Counter(
            "webhook_faults_total",
            "Failures on our side, which no partner is charged for.",
            ["step"],
            registry=registry,
        )
        self._faults = {each: faults.labels(each) for each in FaultStep}

    def count(self, step: FaultStep) -> None:
        """Count a fault."""
        self._faults[step].inc()


class AttemptCounts:
    """How attempts end."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Make them, at zero."""
        attempts = Counter(
            "webhook_attempts_total",
            "Calls of endpoints by how they ended.",
            ["outcome"],
            registry=registry,
        )
        self._attempts = {each: attempts.labels(each) for each in AttemptOutcome if each in MADE}
        self._exhausted = Counter(
            "webhook_exhausted_total",
            "Deliveries given up after their last attempt.",
            registry=registry,
        )

    def count(self, outcome: AttemptOutcome, state: DeliveryState | None) -> None:
        """Count an attempt, and a delivery that ended with it; `state` is None if none changed."""
        self._attempts[outcome].inc()
        if state is DeliveryState.EXHAUSTED:
            self._exhausted.inc()


class ReceiptTimes:
    """How long a stock change takes to its partner's 2xx (W6)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Make it, at zero."""
        seconds = Histogram(
            "webhook_commit_to_receipt_seconds",
            "From a stock change to its partner's 2xx.",
            ["attempt"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._first, self._later = seconds.labels("first"), seconds.labels("later")

    def received(self, claim: Claim, now: datetime) -> None:
        """Measure a delivery that arrived; one sent again by hand or replay is of another day."""
        if claim.series == 1:
            kind = self._first if claim.attempt == 1 else self._later
            # Two machines' clocks: a change that is yet to come took no time.
            kind.observe(max(0.0, (now - claim.occurred_at).total_seconds()))


class MailCounts:
    """How tries to send a mail end."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Make them, at zero."""
        mails = Counter(
            "webhook_mails_total", "Tries to send a mail.", ["outcome"], registry=registry
        )
        self._mails = {each: mails.labels(each) for each in MailOutcome}

    def count(self, outcome: MailOutcome) -> None:
        """Count a try."""
        self._mails[outcome].inc()
