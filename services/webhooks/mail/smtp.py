"""SMTP: hand one message to the mail server, within a limit for the whole of it."""

import contextlib
import smtplib
import socket
import ssl
import time
from collections.abc import Generator
from email.message import EmailMessage
from threading import Timer
from urllib.parse import unquote, urlsplit

import msgspec

from services.core.settings import SettingsError

WHOLE_SEND = 30.0  # seconds, from the name's lookup to the last answer
ONE_STEP = 10.0  # seconds without a byte
PLAIN_PORT, TLS_PORT = 25, 465
LONGEST_REASON = 300  # characters of a server's answer

URL_FAULT = (
    "the environment does not fit:\nSMTP_URL: give smtp://[user:password@]host:port, or smtps://"
)


class NotTakenError(Exception):
    """The server has not taken the message; try again later. The message says why, in a line."""


class SmtpServer(msgspec.Struct, frozen=True):
    """Where mail is handed in, and as whom."""

    host: str
    port: int
    tls: bool  # from the start; otherwise as soon as the server offers it
    user: str | None = None
    password: str = ""

    @classmethod
    def of(cls, url: str) -> "SmtpServer":
        """Read `smtp://[user:password@]host[:port]`, or smtps. Raises SettingsError."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise SettingsError(URL_FAULT) from None
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or parts.path.strip("/"):
            raise SettingsError(URL_FAULT)
        tls = parts.scheme == "smtps"
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password or "")
        return cls(parts.hostname, port or (TLS_PORT if tls else PLAIN_PORT), tls, user, password)


def send(
    server: SmtpServer, message: EmailMessage, *, tls: ssl.SSLContext, limit: float = WHOLE_SEND
) -> None:
    """Hand in a message from its From to its To. Raises NotTakenError.

    When the connection is lost after the last byte it may have been taken all the same.
    """
    began = time.monotonic()
    try:
        with _limited(limit) as limited:
            _hand_in(
                _Connection(server, limited, tls, message["From"].addresses[0].domain), message
            )
    except (OSError, smtplib.SMTPException, ValueError) as exc:  # SSLError is an OSError
        late = time.monotonic() - began >= limit
        reason = f"it took more than {limit:.0f} s" if late else _reason(exc)
        raise NotTakenError(reason) from exc


def _hand_in(connection: "_Connection", message: EmailMessage) -> None:
    with contextlib.closing(connection):
        connection.secure()
        connection.send_message(message)
        # It is taken now, however the connection ends.
        with contextlib.suppress(OSError, smtplib.SMTPException):
            connection.quit()


class _Limited:
    """A connection that a timer ends, whatever it is doing.

    The timer ends a second handle of the socket: TLS takes the first one away.
    """

    def __init__(self) -> None:
        self._handle: socket.socket | None = None
        self._over = False

    def connect(self, host: str, port: int) -> socket.socket:
        connected = socket.create_connection((host, port), timeout=ONE_STEP)
        self._handle = connected.dup()
        if self._over:
            connected.close()
            raise TimeoutError
        return connected

    def end(self) -> None:
        self._over = True
        if self._handle is not None:
            with contextlib.suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()


@contextlib.contextmanager
def _limited(limit: float) -> Generator[_Limited]:
    limited = _Limited()
    timer = Timer(limit, limited.end)
    timer.daemon = True
    timer.start()
    try:
        yield limited
    finally:
        timer.cancel()
        timer.join()  # so that it never ends a number that belongs to another socket by now
        limited.close()


class _Connection(smtplib.SMTP):
    """A connection that is encrypted if the server can, and verified then."""

    def __init__(
        self, server: SmtpServer, limited: _Limited, tls: ssl.SSLContext, own_name: str
    ) -> None:
        self._server = server
        self._limited = limited
        self._tls = tls
        # Without a name of ours smtplib asks the resolver for one, which may take long.
        super().__init__(server.host, server.port, local_hostname=own_name, timeout=ONE_STEP)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:  # noqa: ARG002
        connected = self._limited.connect(host, port)
        if self._server.tls:
            return self._tls.wrap_socket(connected, server_hostname=host)
        return connected

    def secure(self) -> None:
        """Encrypt, then log in, as far as either is asked for."""
        self.ehlo_or_helo_if_needed()
        encrypted = self._server.tls
        if not encrypted and self.has_extn("starttls"):
            self.starttls(context=self._tls)
            encrypted = True
        if self._server.user is not None:
            if not encrypted:
                msg = "the server offers no TLS: the password stays here"
                raise smtplib.SMTPNotSupportedError(msg)
            self.login(self._server.user, self._server.password)


def _reason(exc: Exception) -> str:
    """Return an error in one line."""
    if isinstance(exc, smtplib.SMTPRecipientsRefused):
        refused = exc.recipients
        text = "; ".join(f"{code} {_text(answer)}" for code, answer in refused.values())
    elif isinstance(exc, smtplib.SMTPResponseException):
        text = f"{exc.smtp_code} {_text(exc.smtp_error)}"
    else:
        text = f"{type(exc).__name__}: {exc}"
    return " ".join(text.split())[:LONGEST_REASON]


def _text(answer: bytes | str) -> str:
    return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
