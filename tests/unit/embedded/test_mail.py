"""The local mail server: what it is given can be read in a folder, and goes nowhere else."""

import signal
import smtplib
import sys
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest

from services.local.children import free_port, start, stop
from services.local.mail import keep
from tools.waiting import wait_for

NOON = datetime(2026, 11, 22, 12, 0, 0, 5, tzinfo=UTC)


def message(subject: str = "Webhook failing (hooks.example)") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "partner-api@inventory.example"
    message["To"] = "ops@techmart.example"
    message["Subject"] = subject
    message.set_content("It fails.\n.dot\n")
    return message


def test_it_keeps_what_it_is_handed_and_ends_when_told_to(tmp_path: Path) -> None:
    port, folder, log = free_port(), tmp_path / "mail" / "kept", tmp_path / "mail.log"
    settings = {"MAIL_PORT": str(port), "MAIL_FOLDER": str(folder)}
    command = [sys.executable, "-W", "error", "-m", "services.local.mail"]
    program = start(command, log=log, folder=tmp_path, environment=settings)
    try:
        wait_for(lambda: "service.listening" in log.read_text(), "a server that listens")
        with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
            client.send_message(message())
            client.send_message(message())
    finally:
        stop(program, signal.SIGTERM, within=5)
    assert program.returncode == 0
    kept = sorted(folder.iterdir())
    assert len(kept) == 2
    for path in kept:
        assert path.name.endswith("-ops@techmart.example-webhook-failing-hooks-example.eml")
        text = path.read_text()
        assert "Subject: Webhook failing (hooks.example)" in text
        assert "It fails.\n.dot\n" in text.replace("\r\n", "\n")
    assert log.read_text().count("mail.received") == 2


@pytest.mark.parametrize(
    ("recipient", "subject", "name"),
    [
        ("ops@a.example", "Hello", "20261122T120000.000005Z-ops@a.example-hello.eml"),
        ("../../etc/x@a", "../up", "20261122T120000.000005Z-etc-x@a-up.eml"),
        (".hidden", "", "20261122T120000.000005Z-hidden-none.eml"),
    ],
)
def test_a_file_is_named_by_time_recipient_and_subject(
    tmp_path: Path, recipient: str, subject: str, name: str
) -> None:
    path = keep(tmp_path, recipient, message(subject).as_bytes(), now=NOON)
    assert path == tmp_path / name
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_two_mails_of_one_moment_are_two_files(tmp_path: Path) -> None:
    content = message().as_bytes()
    assert len({keep(tmp_path, "ops@a.example", content, now=NOON) for _ in range(3)}) == 3


def test_a_message_without_any_header_is_kept_too(tmp_path: Path) -> None:
    for content in (b"", b"\xff\xfe", b"Subject: =?x?y?z?=\r\n\r\n", b"Subject: \xff\r\n\r\n"):
        assert keep(tmp_path, "ops@a.example", content, now=NOON).read_bytes() == content
