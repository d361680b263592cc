"""Mailer: send mails until the server has taken them; claim, send, record (W8)."""

import ssl
from collections.abc import Callable
from datetime import timedelta
from email.headerregistry import Address
from threading import Event

import structlog

from services.core.environments import Environment
from services.core.mail_address import MailAddressError
from services.core.settings import SettingsError
from services.webhooks.faults import FaultStep, OnFault, ignore_fault
from services.webhooks.mail import store
from services.webhooks.mail.message import header_address, make_message
from services.webhooks.mail.smtp import WHOLE_SEND, NotTakenError, SmtpServer, send
from services.webhooks.mail.store import Mail
from services.webhooks.mail.texts import API_URLS
from services.webhooks.monitoring.counts import MailOutcome
from services.webhooks.sessions import Session, run_in_sessions

BACKOFF = (10, 30, 60, 120, 300, 600)  # seconds after each failure; the last one for ever

log = structlog.get_logger()


class Mailer:
    """Sends one environment's mails, one after the other; any number of mailers may run."""

    def __init__(
        self,
        database_url: str,
        environment: Environment,
        *,
        smtp_url: str,
        mail_from: str,
        poll_seconds: float,
        api_url: str | None = None,
        tls: ssl.SSLContext | None = None,
        send_within: float = WHOLE_SEND,
        after_round: Callable[[], None] = lambda: None,
        on_try: Callable[[MailOutcome], None] = lambda _outcome: None,
        on_fault: OnFault = ignore_fault,
    ) -> None:
        """`api_url` is where the commands in a mail go; `tls` says whom to trust.

        Raises SettingsError.
        """
        self._database_url = database_url
        self._environment = environment
        self._server = SmtpServer.of(smtp_url)
        self._sender = _sender(mail_from)
        self._poll = poll_seconds
        self._api_url = (api_url or API_URLS[environment]).rstrip("/")
        self._tls = tls or ssl.create_default_context()
        self._send_within = send_within
        self._after_round = after_round
        self._on_try = on_try
        self._on_fault = on_fault

    def run(self, stop: Event) -> None:
        """Send what is due, every `poll_seconds`, until `stop`; a send under way is finished."""

        def step(session: Session) -> None:
            found = self.send_one(session)
            self._after_round()
            if not found:
                stop.wait(self._poll)

        run_in_sessions(self._database_url, "mailer", self._environment, stop=stop, step=step)

    def send_one(self, session: Session) -> bool:
        """Try the mail that has been due for longest; say whether there was one."""
        mail = store.claim(session)
        if mail is None:
            return False
        facts: dict[str, object] = {
            "mail_id": str(mail.id),
            "kind": mail.kind,
            "partner": mail.partner,
            "endpoint_id": str(mail.endpoint_id),
            "attempt": mail.attempts,
        }
        delay = backoff(mail.attempts)
        try:
            outcome, reason = self._send(mail)
        except Exception as exc:  # a fault of ours; the mails behind this one are sent all the same
            self._on_fault(FaultStep.MAIL)
            error = f"a fault of ours: {type(exc).__name__}"
            store.record_failed(session, mail, error=error, delay=delay)
            log.exception("mail.fault", **facts, again_in=delay.total_seconds())
            return True
        self._on_try(outcome)
        if outcome is MailOutcome.SENT:
            store.record_sent(session, mail)
            log.info("mail.sent", **facts)
        else:
            store.record_failed(session, mail, error=reason, delay=delay)
            facts |= {"outcome": outcome, "reason": reason, "again_in": delay.total_seconds()}
            log.warning("mail.failed", **facts)
        return True

    def _send(self, mail: Mail) -> tuple[MailOutcome, str]:
        """Return how the try ended, and why it failed.

        A contact that breaks the rule is older than the rule. Its mail waits for a better contact.
        """
        try:
            message = make_message(
                mail, self._environment, sender=self._sender, api_url=self._api_url
            )
            message.as_bytes()  # what cannot be written is our fault, and not the server's
            send(self._server, message, tls=self._tls, limit=self._send_within)
        except NotTakenError as exc:
            return MailOutcome.FAILED, str(exc)
        except MailAddressError as exc:
            return MailOutcome.NO_ADDRESS, f"the contact {mail.contact[:100]!r} is not {exc}"
        return MailOutcome.SENT, ""


def _sender(mail_from: str) -> Address:
    try:
        return header_address(mail_from)
    except MailAddressError as exc:
        msg = f"the environment does not fit:\nMAIL_FROM: {exc}"
        raise SettingsError(msg) from exc


def backoff(attempts: int) -> timedelta:
    """Return how long to wait after a mail's failed attempts (1 or more)."""
    return timedelta(seconds=BACKOFF[min(attempts, len(BACKOFF)) - 1])
