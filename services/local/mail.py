"""Mail: a server that keeps what it is given as readable files and delivers nothing anywhere."""

import asyncio
import os
import re
import signal
import sys
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from pathlib import Path

import msgspec
import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session

from services.core.logs import LogFormat, configure_logs
from services.core.settings import SettingsError, load_settings

LONGEST = 60  # characters of the recipient, and of the subject, in a file's name
SIZE_LIMIT = 1_000_000  # bytes of a message

log = structlog.get_logger()


class Settings(msgspec.Struct, frozen=True):
    """MAIL_PORT and so on."""

    mail_port: int  # 0: one that the system chooses
    mail_folder: str
    mail_host: str = "127.0.0.1"


class Keeper:
    """Answers aiosmtpd: writes each message to a folder."""

    def __init__(self, folder: Path) -> None:
        """Take a folder; it is made if there is none."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    async def handle_DATA(  # noqa: N802 -- aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Keep one message."""
        content = envelope.content
        if not isinstance(content, bytes):
            return "554 this is not a message"
        written = keep(self._folder, envelope.rcpt_tos[0], content, now=datetime.now(UTC))
        log.info("mail.received", to=envelope.rcpt_tos, file=written.name)
        return "250 kept"


def keep(folder: Path, recipient: str, content: bytes, *, now: datetime) -> Path:
    """Write a message under its final name in one step; return its path."""
    message = message_from_bytes(content, _class=EmailMessage, policy=modern)
    subject = str(message.get("Subject", ""))
    stem = f"{now:%Y%m%dT%H%M%S.%fZ}-{_slug(recipient, '@._+')}-{_slug(subject)}"
    path = folder / f"{stem}.eml"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.eml"
    unfinished = folder / f".{path.name}.new"
    unfinished.write_bytes(content)
    unfinished.replace(path)
    return path


def _slug(text: str, allowed: str = "") -> str:
    """Return text as part of a file's name: never a folder, never hidden."""
    words = re.sub(rf"[^a-z0-9{re.escape(allowed)}]+", "-", text.lower())
    return words[:LONGEST].strip("-.") or "none"


def main() -> None:
    """Run the server with the settings of the environment, until SIGTERM or SIGINT."""
    configure_logs(LogFormat.CONSOLE, service="mail", environment="all")
    try:
        settings = load_settings(Settings, os.environ)
    except SettingsError as exc:
        sys.exit(f"mail: {exc}")
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    keeper = Keeper(Path(settings.mail_folder))

    def session() -> SMTP:
        return SMTP(
            keeper, hostname="mail.local", ident="keeps mail", data_size_limit=SIZE_LIMIT, loop=loop
        )

    server = await loop.create_server(session, settings.mail_host, settings.mail_port)
    async with server:
        log.info("service.listening", port=server.sockets[0].getsockname()[1])
        await stop.wait()


if __name__ == "__main__":
    main()
