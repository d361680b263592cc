"""What a technical contact reads, and that what comes from outside stays within it."""

import shlex
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.environments import Environment
from services.core.mail_address import MailAddressError
from services.webhooks.mail.message import header_address, make_message
from services.webhooks.mail.store import Mail
from services.webhooks.mail.texts import API_URLS
from services.webhooks.words import MailKind

NOON = datetime(2026, 11, 22, 12, 0, 0, 5, tzinfo=UTC)
ENDPOINT = UUID("00000000-0000-7000-8000-000000000002")
SENDER = header_address("partner-api@inventory.example")
API = API_URLS[Environment.LIVE]
MAIL = Mail(
    id=UUID("00000000-0000-7000-8000-000000000001"),
    kind=MailKind.INCIDENT_OPENED,
    attempts=1,
    since=NOON,
    reason="HTTP 500",
    partner="techmart",
    contact="ops@techmart.example",
    endpoint_id=ENDPOINT,
    url="https://hooks.techmart.example/stock?shop=1",
    missed=0,
    missed_since=None,
    now=NOON,
)


def message_of(mail: Mail, environment: Environment = Environment.LIVE) -> EmailMessage:
    """Return the message as it arrives."""
    sent = make_message(mail, environment, sender=SENDER, api_url=API_URLS[environment])
    return message_from_bytes(sent.as_bytes(), _class=EmailMessage, policy=modern)


def commands(mail: Mail) -> list[list[str]]:
    """Return the commands of a mail as a shell takes them apart."""
    text = message_of(mail).get_content().replace("\r\n", "\n").replace("\\\n", "")
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("curl")]
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("kind", MailKind)
def test_a_mail_names_the_webhook_what_failed_and_since_when(kind: MailKind) -> None:
    text = message_of(msgspec.structs.replace(MAIL, kind=kind)).get_content()
    for said in (str(ENDPOINT), MAIL.url, "HTTP 500", "2026-11-22T12:00:00.000005Z", "techmart"):
        assert said in text


@pytest.mark.parametrize("kind", MailKind)
def test_a_mail_says_how_to_replay(kind: MailKind) -> None:
    replay = commands(msgspec.structs.replace(MAIL, kind=kind))[-1]
    assert replay == [
        *("curl", "-X", "POST", "-H", "X-API-Key: $API_KEY"),
        *("-H", "Content-Type: application/json"),
        *("--data", '{"since": "2026-11-22T12:00:00.000000Z"}'),
        f"{API}/partner/v1/webhooks/{ENDPOINT}/replay",
    ]


@pytest.mark.parametrize(
    ("kind", "enables"),
    [
        (MailKind.INCIDENT_OPENED, False),
        (MailKind.INCIDENT_CLOSED, False),
        (MailKind.ENDPOINT_GONE, True),
        (MailKind.ENDPOINT_DISABLED, True),
    ],
)
def test_a_disabled_webhook_is_enabled_before_the_replay(kind: MailKind, *, enables: bool) -> None:
    found = commands(msgspec.structs.replace(MAIL, kind=kind))
    enabling = [each for each in found if "PATCH" in each]
    assert bool(enabling) is enables
    if enables:
        assert '{"state": "active"}' in enabling[0]
        assert found.index(enabling[0]) < len(found) - 1


def test_the_sandbox_says_that_it_is_the_sandbox() -> None:
    message = message_of(MAIL, Environment.SANDBOX)
    assert message["Subject"] == "[sandbox] Webhook failing (hooks.techmart.example)"
    assert "https://sandbox-api.inventory.example/partner" in message.get_content()
    assert "sandbox" not in message_of(MAIL).get_content()


def test_a_replay_begins_at_the_oldest_missed_event_when_that_is_earlier() -> None:
    mail = msgspec.structs.replace(MAIL, missed=2, missed_since=NOON - timedelta(minutes=1))
    assert '{"since": "2026-11-22T11:59:00.000000Z"}' in commands(mail)[-1]
    assert "2 events so far" in message_of(mail).get_content()


def test_the_text_is_readable_as_it_travels() -> None:
    message = message_of(MAIL)
    assert message["Content-Transfer-Encoding"] == "7bit"
    assert message["Message-ID"] == f"<{MAIL.id}@inventory.example>"
    assert max(len(line) for line in message.get_content().splitlines()) < 160


@settings(deadline=None)
@given(url=st.text(), reason=st.text(), partner=st.text())
def test_nothing_in_a_row_adds_a_header_or_a_line(url: str, reason: str, partner: str) -> None:
    plain = message_of(MAIL)
    given_rows = {"url": url, "reason": reason or "-", "partner": partner}
    message = message_of(msgspec.structs.replace(MAIL, **given_rows))
    assert message.keys() == plain.keys()
    assert message["To"] == "ops@techmart.example"
    lines = message.get_content().splitlines()
    assert len(lines) == len(plain.get_content().splitlines())


@settings(deadline=None)
@given(
    contact=st.one_of(
        st.text(),
        st.emails(),
        st.from_regex(r"[^@\s]+@[^@\s]+", fullmatch=True),  # what a partner's row may hold
        st.from_regex(r"[!-~]{1,9}@[a-z.-]{1,9}", fullmatch=True),
    )
)
def test_a_contact_is_one_address_or_is_refused(contact: str) -> None:
    try:
        address = header_address(contact)
    except MailAddressError:
        return
    message = message_of(msgspec.structs.replace(MAIL, contact=contact))
    assert message.keys() == message_of(MAIL).keys()
    assert message["To"].addresses == (address,)
