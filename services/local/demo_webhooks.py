"""Demo webhooks: the steps of a partner that is called back, told as one story in the sandbox."""

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from partner_inventory import Attempt, Delivery, PartnerInventoryError
from services.core.environments import Environment
from services.core.errors import ErrorCode
from services.core.wording import counted
from services.domain.events import EventType
from services.domain.stock import LOW_STOCK_MAXIMUM
from services.local.demo_mail import KeptMail, Mailbox
from services.local.demo_receiver import PATH, Received, Receiver
from services.local.demo_steps import Scene, StepFailedError, refused
from services.local.provision import TECHMART
from services.local.webhook_programs import (
    LIVE_RETRY_DELAYS_TOLD,
    SANDBOX_RETRY_DELAYS,
    sandbox_delays_told,
)

PRODUCT = "DEMO-TECHMART-1"  # sandbox stock is shared: this one is the demo's own
PLENTY = LOW_STOCK_MAXIMUM + 5
EVENTS = (EventType.INVENTORY_LOW_STOCK, EventType.INVENTORY_OUT_OF_STOCK)
CALLED_WITHIN = 5.0  # seconds from a change to its call (W6)
MAILED_WITHIN = 10.0  # seconds; the mail is written with the last attempt and sent at once
LOOK_EVERY = 0.2  # seconds between two looks into the delivery log
DELAYS = [float(each) for each in SANDBOX_RETRY_DELAYS.split(",")]  # seconds, before jitter
LEAST, MOST = 0.8, 1.2  # jitter's bounds
GIVEN_UP_WITHIN = sum(DELAYS) * MOST + 10.0  # seconds; a delay may end half a second late


class WebhookStory:
    """An endpoint from its registration to its end; each step builds on the one before."""

    def __init__(self, scene: Scene, mail_folder: Path) -> None:
        """Take the stage and the folder of the mail sink."""
        self._partner = scene.inventory(Environment.SANDBOX)
        self._mailbox = Mailbox(mail_folder)
        self._receiver = Receiver()
        self._webhook = ""  # its id
        self._missed = ""  # the event that could not be delivered
        self._missed_since = datetime.now(UTC)

    @property
    def steps(self) -> Sequence[tuple[str, Callable[[Scene], None]]]:
        """The steps, with their titles."""
        return (
            ("Stock falls to 9, then to 0: the partner is called back", self.be_called),
            ("The receiver is away: retries, then a mail", self.be_away),
            ("The receiver is back: a replay brings what it missed", self.catch_up),
        )

    def close(self) -> None:
        """Remove what is still there, whatever went wrong."""
        if self._webhook:
            with suppress(PartnerInventoryError):
                self._partner.delete_webhook(self._webhook)
        self._receiver.close()

    def be_called(self, scene: Scene) -> None:
        """Register, let stock fall, and verify what arrives."""
        self._remove_leftovers()
        self._receiver.open()
        made = self._partner.register_webhook(self._receiver.url, EVENTS)
        self._webhook, self._receiver.secret = made.webhook.id, made.secret
        scene.say(f"registered {self._receiver.url}, the secret shown once")
        self._set_stock(PLENTY)
        for quantity, event in ((9, EVENTS[0]), (0, EVENTS[1])):
            asked, call = self._change(quantity, event)
            took = (call.at - asked) * 1000
            scene.say(f"stock set to {quantity}: {event} arrived after {took:.0f} ms, and verifies")

    def be_away(self, scene: Scene) -> None:
        """Let stock fall while nobody listens, until the platform gives up and says so by mail."""
        self._need(self._webhook)
        self._receiver.go_away()
        live = f"live: {LIVE_RETRY_DELAYS_TOLD}"
        scene.say(f"this sandbox tries again after about {sandbox_delays_told()} ({live})")
        self._set_stock(PLENTY)
        self._missed_since = datetime.now(UTC)
        self._set_stock(8)
        delivery = self._given_up(scene)
        self._missed = delivery.event_id
        scene.say(f"given up after {counted(len(delivery.attempts), 'attempt')}: {delivery.state}")
        self._tell_mail(scene, "the end of the retries")

    def catch_up(self, scene: Scene) -> None:
        """Ask for what was missed, and clean up."""
        self._need(self._missed)
        self._receiver.open()
        before, asked = len(self._receiver.received), time.perf_counter()
        scheduled = self._partner.replay(self._webhook, self._missed_since).scheduled
        call = self._receiver.wait_for(
            lambda call: call.body.get("event_id") == self._missed,
            after=before,
            within=CALLED_WITHIN,
        )
        if scheduled != 1 or call is None:
            sent = counted(scheduled, "event")
            msg = f"the replay scheduled {sent}; that of the same event_id did not come"
            raise StepFailedError(msg)
        _check(call, EventType.INVENTORY_LOW_STOCK, 8)
        took = (call.at - asked) * 1000
        scene.say(f"replay since the change: {EVENTS[0]} arrived after {took:.0f} ms,")
        scene.say(f"with the event_id that was tried before ({self._missed})")
        self._tell_mail(scene, "the success")
        self._end(scene)

    def _end(self, scene: Scene) -> None:
        gone, self._webhook = self._webhook, ""
        self._partner.delete_webhook(gone)
        refused(lambda: self._partner.webhook(gone), ErrorCode.NOT_FOUND)
        scene.say(f"the webhook is deleted; {PRODUCT} stays")

    def _remove_leftovers(self) -> None:
        """Remove what a demo that was killed has left."""
        for each in self._partner.webhooks():
            if each.url.endswith(PATH):
                self._partner.delete_webhook(each.id)

    def _change(self, quantity: int, event: EventType) -> tuple[float, Received]:
        """Set the stock; return when that was asked for, and the verified call of its event."""
        before, asked = len(self._receiver.received), time.perf_counter()
        self._set_stock(quantity)
        call = self._receiver.wait_for(
            lambda call: call.body.get("event_type") == event or bool(call.fault),
            after=before,
            within=CALLED_WITHIN,
        )
        if call is None:
            msg = f"stock is {quantity}, but {event} did not come within {CALLED_WITHIN:g} s"
            raise StepFailedError(msg)
        _check(call, event, quantity)
        return asked, call

    def _given_up(self, scene: Scene) -> Delivery:
        """Tell each attempt as the delivery log shows it; return the exhausted delivery."""
        deadline = time.perf_counter() + GIVEN_UP_WITHIN
        told = 0
        while True:
            page = self._partner.delivery_page(self._webhook, limit=1)
            delivery = page.items[0]  # that of the step before, at first
            failed = [each for each in delivery.attempts if each.outcome != "delivered"]
            for attempt, waited in itertools.islice(_with_waits(failed), told, None):
                scene.say(_told_attempt(attempt, waited))
                told += 1
            if delivery.state == "exhausted":
                return delivery
            if time.perf_counter() > deadline:
                msg = f"after {GIVEN_UP_WITHIN:.0f} s and {told} attempts it is {delivery.state}"
                raise StepFailedError(msg)
            time.sleep(LOOK_EVERY)

    def _tell_mail(self, scene: Scene, why: str) -> None:
        began = time.perf_counter()
        mail = self._mailbox.wait_for(self._receiver.url, within=MAILED_WITHIN)
        if mail is None:
            msg = f"no mail came within {MAILED_WITHIN:g} s of {why}"
            raise StepFailedError(msg)
        _check_recipient(mail)
        took = time.perf_counter() - began
        scene.say(f"{took:.1f} s after {why} {mail.to} has a mail: {mail.subject!r}")
        scene.say(f"  {mail.path}")

    def _set_stock(self, quantity: int) -> None:
        item = self._partner.set_stock(PRODUCT, quantity)
        if item.quantity != quantity:
            msg = f"set to {quantity}, {PRODUCT} has {item.quantity}"
            raise StepFailedError(msg)

    def _need(self, earlier: str) -> None:
        if not earlier:
            msg = "the step before it failed"
            raise StepFailedError(msg)


def _with_waits(attempts: list[Attempt]) -> list[tuple[Attempt, float | None]]:
    """Return attempts in their order, each with the seconds since the end of the one before."""
    waits: list[float | None] = [None]
    for before, after in itertools.pairwise(attempts):
        waited = after.started_at - before.started_at
        waits.append(waited.total_seconds() - before.duration_ms / 1000)
    return list(zip(attempts, waits, strict=False))


def _told_attempt(attempt: Attempt, waited: float | None) -> str:
    """Return a line for an attempt. Raises StepFailedError when it came too soon."""
    number = attempt.number
    if waited is None:
        return f"attempt {number}: {attempt.outcome}"
    planned = DELAYS[number - 2]
    if waited < planned * LEAST - 0.05:  # started_at and duration_ms are rounded
        msg = f"attempt {number} came {waited:.2f} s after the one before, not about {planned:g} s"
        raise StepFailedError(msg)
    return f"attempt {number}, {waited:.1f} s later: {attempt.outcome}"


def _check(call: Received, event: EventType, quantity: int) -> None:
    """Check that a call is genuine and says what happened. Raises StepFailedError."""
    if call.fault:
        raise StepFailedError(call.fault)
    found = (call.body["event_type"], call.body["data"]["quantity"], call.body["retry_count"])
    if found != (event, quantity, 0) or call.body["data"]["product_id"] != PRODUCT:
        msg = f"expected {event} with {quantity} units in a first attempt, got {call.body}"
        raise StepFailedError(msg)


def _check_recipient(mail: KeptMail) -> None:
    if TECHMART.contact not in mail.to:
        msg = f"the mail went to {mail.to}, not to {TECHMART.contact}"
        raise StepFailedError(msg)
