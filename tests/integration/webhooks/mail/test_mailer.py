"""The mailer: every mail is handed in, sooner or later, and once when all is well (W8)."""

import socket
import time
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from services.core.settings import SettingsError
from services.domain.states import DeliveryState
from services.local.children import free_port
from services.webhooks.faults import FaultStep
from services.webhooks.mail import mailer as mailer_module
from services.webhooks.mail.mailer import Mailer
from services.webhooks.mail.store import Mail
from services.webhooks.monitoring.counts import MailOutcome
from services.webhooks.sessions import Session
from services.webhooks.words import MailKind
from tests.integration.webhooks.mail.conftest import AddMail, MakeMailer
from tests.smtp_servers import MailServer, raw_server
from tests.webhook_rows import WebhookRows
from tools.waiting import Running, wait_for

LIMIT = 0.5  # seconds of a whole send, where a test waits for its end


def unsent(rows: WebhookRows) -> int:
    return rows.one("SELECT count(*) FROM {env}.mails WHERE sent_at IS NULL")


def state(rows: WebhookRows, mail: UUID) -> tuple[bool, int, str, float]:
    """Return whether it is sent, its attempts, last error, and seconds to the next attempt."""
    return rows.run(
        "SELECT sent_at IS NOT NULL, attempts, last_error,"
        " extract(epoch FROM next_attempt_at - now())::float FROM {env}.mails WHERE id = %s",
        [mail],
    )[0]


def make_due(rows: WebhookRows) -> None:
    rows.run("UPDATE {env}.mails SET next_attempt_at = now()")


@pytest.mark.parametrize("kind", MailKind)
def test_a_mail_is_sent_once_to_the_partners_contact(
    *,
    rows: WebhookRows,
    mailer: Mailer,
    session: Session,
    server: MailServer,
    add_mail: AddMail,
    endpoint: UUID,
    kind: MailKind,
) -> None:
    mail = add_mail(kind)
    assert mailer.send_one(session)
    make_due(rows)
    assert not mailer.send_one(session)
    (taken,) = server.taken
    assert taken.recipients == ["ops@techmart.example"]
    assert taken.sender == "partner-api@inventory.example"
    message = taken.message
    assert message["To"] == "ops@techmart.example"
    assert message["From"] == "partner-api@inventory.example"
    assert message["Message-ID"] == f"<{mail}@inventory.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime is not None
    assert "hooks.techmart.example" in message["Subject"]
    text = message.get_content()
    assert f"/partner/v1/webhooks/{endpoint}/replay" in text
    assert "https://hooks.techmart.example/stock" in text
    # The steps are those of its kind.
    assert ("?state=exhausted" in text) == (kind != MailKind.ENDPOINT_GONE)
    assert ("/ping" in text) == (kind != MailKind.INCIDENT_CLOSED)


def test_a_mail_that_we_cannot_write_is_a_fault_of_ours_and_holds_up_no_other(
    *,
    rows: WebhookRows,
    make_mailer: MakeMailer,
    session: Session,
    server: MailServer,
    add_mail: AddMail,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad, good = add_mail(MailKind.INCIDENT_OPENED), add_mail(MailKind.INCIDENT_CLOSED)
    write = mailer_module.make_message

    def make_message(mail: Mail, *args: Any, **more: Any) -> EmailMessage:  # noqa: ANN401
        message = write(mail, *args, **more)
        if mail.id == bad:
            message.set_payload(5)  # is found out when the mail is written
        return message

    outcomes, faults = list[MailOutcome](), list[FaultStep]()
    mailer = make_mailer(on_try=outcomes.append, on_fault=faults.append)
    with monkeypatch.context() as patch:
        patch.setattr(mailer_module, "make_message", make_message)
        while mailer.send_one(session):
            pass
    assert state(rows, good)[0]
    assert not state(rows, bad)[0]
    assert state(rows, bad)[2].startswith("a fault of ours: ")
    assert (outcomes, faults) == ([MailOutcome.SENT], [FaultStep.MAIL])
    make_due(rows)
    assert mailer.send_one(session)
    assert state(rows, bad)[0]
    assert len(server.taken) == 2


def test_the_contact_of_the_moment_counts(
    rows: WebhookRows, mailer: Mailer, session: Session, server: MailServer, add_mail: AddMail
) -> None:
    add_mail()
    rows.run("UPDATE {env}.partners SET contact = 'new@techmart.example'")
    mailer.send_one(session)
    assert server.taken[0].recipients == ["new@techmart.example"]


def test_the_replay_in_a_mail_begins_before_the_oldest_event_that_was_missed(
    *,
    rows: WebhookRows,
    mailer: Mailer,
    session: Session,
    server: MailServer,
    add_mail: AddMail,
    endpoint: UUID,
) -> None:
    for age, finished in (("2 hours", "30 minutes"), ("3 hours", "2 hours")):
        event = rows.delivery(endpoint, rows.event(age=age), state=DeliveryState.EXHAUSTED)
        rows.run(
            "UPDATE {env}.deliveries SET finished_at = now() - %s::interval WHERE event_id = %s",
            [finished, event],
        )
    add_mail()  # failing for an hour: what was given up before that is of another incident
    mailer.send_one(session)
    text = server.taken[0].message.get_content()
    since = text.split('{"since": "')[1].split('"')[0]
    (row,) = rows.run(
        "SELECT min(occurred_at) FILTER (WHERE occurred_at > now() - interval '2.5 hours')"
        " - %s::timestamptz FROM {env}.events",
        [since],
    )
    assert 0 <= row[0].total_seconds() < 1
    assert "1 event so far" in text


def test_a_server_that_is_away_is_tried_again_later_and_later(
    rows: WebhookRows, make_mailer: MakeMailer, session: Session, add_mail: AddMail
) -> None:
    mailer = make_mailer(f"smtp://127.0.0.1:{free_port()}")
    mail = add_mail()
    waits = []
    with capture_logs() as logs:
        for _ in range(8):
            assert mailer.send_one(session)
            waits.append(state(rows, mail)[3])
            make_due(rows)
    for waited, expected in zip(waits, (10, 30, 60, 120, 300, 600, 600, 600), strict=True):
        assert expected - 5 < waited <= expected
    sent, attempts, error, _ = state(rows, mail)
    assert (sent, attempts) == (False, 8)
    assert "refused" in error.lower()
    assert [log["event"] for log in logs] == ["mail.failed"] * 8


def test_a_mail_waits_for_its_next_attempt(
    mailer: Mailer, session: Session, server: MailServer, add_mail: AddMail
) -> None:
    server.answer = "451 come back later"
    add_mail()
    assert mailer.send_one(session)
    assert not mailer.send_one(session)


@pytest.mark.parametrize("refused_at", ["recipient", "message"])
def test_a_refusal_is_recorded_and_tried_again(
    *,
    rows: WebhookRows,
    mailer: Mailer,
    session: Session,
    server: MailServer,
    add_mail: AddMail,
    refused_at: str,
) -> None:
    if refused_at == "recipient":
        server.recipient_answer = "550 no such user"
    else:
        server.answer = "550 no such user"
    mail = add_mail()
    mailer.send_one(session)
    assert state(rows, mail)[:3] == (False, 1, "550 no such user")
    server.recipient_answer, server.answer = "250 ok", "250 taken"
    make_due(rows)
    mailer.send_one(session)
    assert state(rows, mail)[0]
    first_id = server.taken[0].message["Message-ID"]
    assert first_id == f"<{mail}@inventory.example>"


def test_a_server_that_drips_is_given_up_within_the_limit(
    rows: WebhookRows, make_mailer: MakeMailer, session: Session, add_mail: AddMail
) -> None:
    def drip(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"220-slow\r\n")
            time.sleep(0.05)

    with raw_server(drip) as port:
        mailer = make_mailer(f"smtp://127.0.0.1:{port}", send_within=LIMIT)
        mail = add_mail()
        began = time.monotonic()
        mailer.send_one(session)
        assert time.monotonic() - began < LIMIT + 2
    assert "took more than" in state(rows, mail)[2]


def test_a_server_that_says_nothing_holds_no_transaction_and_is_given_up(
    rows: WebhookRows, make_mailer: MakeMailer, add_mail: AddMail
) -> None:
    def hang(connection: socket.socket) -> None:
        connection.recv(1)

    with raw_server(hang) as port:
        mailer = make_mailer(f"smtp://127.0.0.1:{port}", send_within=LIMIT)
        mail = add_mail()
        with Running(mailer.run):
            wait_for(lambda: state(rows, mail)[1] == 1, "the mail claimed")
            assert rows.one(
                "SELECT state FROM pg_stat_activity WHERE application_name = 'sandbox mailer'"
            ) in {"idle", "active"}
            wait_for(lambda: state(rows, mail)[2] != "", "the end of the send")
    assert "took more than" in state(rows, mail)[2]


def test_a_tls_handshake_that_never_ends_is_given_up_within_the_limit(
    rows: WebhookRows, make_mailer: MakeMailer, session: Session, add_mail: AddMail
) -> None:
    def hang(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.recv(1)

    with raw_server(hang) as port:
        mailer = make_mailer(f"smtps://127.0.0.1:{port}", send_within=LIMIT)
        mail = add_mail()
        began = time.monotonic()
        mailer.send_one(session)
        assert time.monotonic() - began < LIMIT + 2
    assert "took more than" in state(rows, mail)[2]


def test_a_mail_whose_mailer_died_is_sent_by_another(
    rows: WebhookRows, make_mailer: MakeMailer, server: MailServer, add_mail: AddMail
) -> None:
    mail = add_mail()
    rows.run(  # what a mailer that was killed in mid-send leaves behind, a minute later
        "UPDATE {env}.mails SET attempts = 1, next_attempt_at = now()"
    )
    with Running(make_mailer().run):
        wait_for(lambda: unsent(rows) == 0, "the mail sent")
    assert [each.message["Message-ID"] for each in server.taken] == [f"<{mail}@inventory.example>"]


def test_several_mailers_send_each_mail_once(
    rows: WebhookRows, make_mailer: MakeMailer, server: MailServer, add_mail: AddMail
) -> None:
    mails = {add_mail() for _ in range(20)}
    with capture_logs() as logs, Running(make_mailer().run), Running(make_mailer().run):
        wait_for(lambda: unsent(rows) == 0, "every mail sent")
    assert sorted(each.message["Message-ID"] for each in server.taken) == sorted(
        f"<{mail}@inventory.example>" for mail in mails
    )
    assert [log["event"] for log in logs] == ["mail.sent"] * 20
    assert "curl" not in repr(logs)


@pytest.mark.parametrize(
    "contact",
    [
        "ops@techmart.example\r\nBcc: all@techmart.example",
        "ops@techmart.example>\r\nRCPT TO:<all@techmart.example",
        "one@techmart.example,two@techmart.example",
        "no address",
        "",
    ],
)
def test_a_contact_that_is_no_address_is_counted_and_holds_up_no_other_mail(
    *,
    rows: WebhookRows,
    make_mailer: MakeMailer,
    session: Session,
    server: MailServer,
    add_mail: AddMail,
    contact: str,
) -> None:
    rows.run("UPDATE {env}.partners SET contact = %s", [contact])
    mail = add_mail()
    tries: list[MailOutcome] = []
    mailer = make_mailer(on_try=tries.append)
    with capture_logs() as logs:
        assert mailer.send_one(session)
    sent, _, error, _ = state(rows, mail)
    assert not sent
    assert error.startswith(f"the contact {contact!r} is not an e-mail address")
    assert [(log["event"], log["outcome"]) for log in logs] == [("mail.failed", "no_address")]
    assert tries == [MailOutcome.NO_ADDRESS]
    assert server.tries == 0
    rows.run("UPDATE {env}.partners SET contact = 'ops@techmart.example'")
    add_mail()
    assert mailer.send_one(session)
    assert len(server.taken) == 1


def test_a_contact_of_an_international_domain_is_reached(
    rows: WebhookRows, mailer: Mailer, session: Session, server: MailServer, add_mail: AddMail
) -> None:
    rows.run("UPDATE {env}.partners SET contact = 'a@münchen.example'")  # older than the rule
    add_mail()
    assert mailer.send_one(session)
    assert server.taken[0].recipients == ["a@xn--mnchen-3ya.example"]
    assert server.taken[0].message["To"] == "a@xn--mnchen-3ya.example"


def test_the_senders_address_is_held_to_the_same_rule(
    make_mailer: MakeMailer, session: Session, server: MailServer, add_mail: AddMail
) -> None:
    add_mail()
    assert make_mailer(mail_from="api@münchen.example").send_one(session)
    assert server.taken[0].sender == "api@xn--mnchen-3ya.example"
    for wrong in ("mailto:a@example.com", "<a@example.com>", "a@example.com.", "a@localhost"):
        with pytest.raises(SettingsError, match="MAIL_FROM: an e-mail address alone"):
            make_mailer(mail_from=wrong)


def test_it_goes_on_when_its_connection_was_ended(
    rows: WebhookRows, make_mailer: MakeMailer, add_mail: AddMail
) -> None:
    with capture_logs() as logs, Running(make_mailer().run):
        add_mail()
        wait_for(lambda: unsent(rows) == 0, "the first mail sent")
        rows.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'sandbox mailer'"
        )
        wait_for(lambda: any(log["event"] == "database.away" for log in logs), "it told")
        add_mail()
        wait_for(lambda: unsent(rows) == 0, "the second mail sent")
