"""Mail servers for tests: one that takes mail as it is told to, and one that drips."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from threading import Thread
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope


@dataclass
class TakenMail:
    """What a server was handed."""

    sender: str
    recipients: list[str]
    content: bytes

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.content, _class=EmailMessage, policy=modern)


@dataclass
class MailServer:
    """A running server, and the handler of aiosmtpd at the same time."""

    port: int = 0
    answer: str = "250 taken"  # to a whole message
    recipient_answer: str = "250 ok"
    taken: list[TakenMail] = field(default_factory=list[TakenMail])
    logins: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    tries: int = 0

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: object, envelope: Envelope, address: str, _options: object
    ) -> str:
        self.tries += 1
        if self.recipient_answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient_answer

    async def handle_DATA(self, _server: SMTP, _session: object, envelope: Envelope) -> str:  # noqa: N802
        if self.answer.startswith("250"):
            content = envelope.content
            assert isinstance(content, bytes)
            assert envelope.mail_from is not None
            self.taken.append(TakenMail(envelope.mail_from, list(envelope.rcpt_tos), content))
        return self.answer

    def authenticate(self, *given: Any) -> AuthResult:  # noqa: ANN401 -- aiosmtpd's signature
        self.logins.append((given[-1].login, given[-1].password))
        return AuthResult(success=True)


@contextlib.contextmanager
def mail_server(
    *, starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None
) -> Generator[MailServer]:
    """Run a mail server for the length of a with block, in a thread."""
    handler = MailServer()

    def session() -> SMTP:
        return SMTP(
            handler,
            hostname="mail.test",
            tls_context=starttls,
            require_starttls=starttls is not None,
            authenticator=handler.authenticate,
            auth_require_tls=tls is None,
            loop=loop,
        )

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(session, "127.0.0.1", 0, ssl=tls))
    handler.port = server.sockets[0].getsockname()[1]
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield handler
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        server.close()
        loop.run_until_complete(_end_sessions(loop))
        loop.close()


async def _end_sessions(loop: asyncio.AbstractEventLoop) -> None:
    tasks = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task(loop)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)  # transports close in the loop's next turn


@contextlib.contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Generator[int]:
    """Run a server that `talk`s to each connection in turn; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        talk(connection)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
