"""Handing a message to a mail server: encrypted when it can be, and never half believed."""

import socket
import ssl
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.core.settings import SettingsError
from services.webhooks.mail.smtp import NotTakenError, SmtpServer, send
from tests.smtp_servers import MailServer, mail_server, raw_server


@pytest.fixture
def message() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "partner-api@inventory.example"
    message["To"] = "ops@techmart.example"
    message["Subject"] = "Webhook failing"
    message.set_content("It fails.\n.\nSo it does.\n")
    return message


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(pem)
    )
    return path


@pytest.fixture
def serving(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.fixture
def server() -> Generator[MailServer]:
    with mail_server() as server:
        yield server


def hand_in(url: str, message: EmailMessage, tls: ssl.SSLContext | None = None) -> None:
    send(SmtpServer.of(url), message, tls=tls or ssl.create_default_context(), limit=10)


def test_a_message_arrives_as_it_was_written(server: MailServer, message: EmailMessage) -> None:
    hand_in(server.url, message)
    text = server.taken[0].message.get_content()
    assert text.splitlines() == ["It fails.", ".", "So it does."]


def test_tls_is_used_when_it_is_offered_and_so_is_the_login(
    serving: ssl.SSLContext, trusting: ssl.SSLContext, message: EmailMessage
) -> None:
    with mail_server(starttls=serving) as server:
        hand_in(f"smtp://us%40er:pass%2Fword@127.0.0.1:{server.port}", message, trusting)
        assert server.logins == [(b"us@er", b"pass/word")]
        assert len(server.taken) == 1


def test_tls_from_the_start(
    serving: ssl.SSLContext, trusting: ssl.SSLContext, message: EmailMessage
) -> None:
    with mail_server(tls=serving) as server:
        hand_in(f"smtps://127.0.0.1:{server.port}", message, trusting)
        assert len(server.taken) == 1


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_server_that_nobody_vouches_for_gets_nothing(
    serving: ssl.SSLContext, message: EmailMessage, scheme: str
) -> None:
    kind = {"smtp": {"starttls": serving}, "smtps": {"tls": serving}}[scheme]
    with mail_server(**kind) as server:
        with pytest.raises(NotTakenError, match="certificate"):
            hand_in(f"{scheme}://127.0.0.1:{server.port}", message)
        assert server.tries == 0


def test_a_password_is_never_sent_in_the_clear(server: MailServer, message: EmailMessage) -> None:
    with pytest.raises(NotTakenError, match="no TLS"):
        hand_in(f"smtp://user:password@127.0.0.1:{server.port}", message)
    assert (server.logins, server.taken) == ([], [])


def test_a_message_that_was_taken_counts_however_the_connection_ends(
    message: EmailMessage,
) -> None:
    def take_and_vanish(connection: socket.socket) -> None:
        with connection.makefile("rwb", buffering=0) as stream:
            stream.write(b"220 here\r\n")
            while not stream.readline().upper().startswith(b"DATA"):
                stream.write(b"250 ok\r\n")
            stream.write(b"354 go on\r\n")
            while stream.readline() != b".\r\n":
                pass
            stream.write(b"250 taken\r\n")

    with raw_server(take_and_vanish) as port:
        hand_in(f"smtp://127.0.0.1:{port}", message)


@pytest.mark.parametrize("said", [b"554 go away\r\n", b"", b"nonsense\r\n", b"\xff\xfe\x00"])
def test_a_server_that_talks_nonsense_has_not_taken_it(message: EmailMessage, said: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(said)

    with raw_server(talk) as port, pytest.raises(NotTakenError) as caught:
        hand_in(f"smtp://127.0.0.1:{port}", message)
    assert "\n" not in str(caught.value)


def test_a_name_that_does_not_resolve_is_not_taken(message: EmailMessage) -> None:
    with pytest.raises(NotTakenError):
        hand_in("smtp://mail.invalid:25", message)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example", SmtpServer("mail.example", 25, tls=False)),
        ("smtps://mail.example", SmtpServer("mail.example", 465, tls=True)),
        ("smtp://[::1]:2525/", SmtpServer("::1", 2525, tls=False)),
        ("smtp://u:p%40@mail.example", SmtpServer("mail.example", 25, False, "u", "p@")),
    ],
)
def test_an_address_of_a_server_is_read(url: str, server: SmtpServer) -> None:
    assert SmtpServer.of(url) == server


@pytest.mark.parametrize(
    "url",
    ["smtp://", "smtp://mail.example:x", "http://mail.example", "smtp://a:70000", "smtp://[x"],
)
def test_a_malformed_address_names_the_setting(url: str) -> None:
    with pytest.raises(SettingsError, match="SMTP_URL"):
        SmtpServer.of(url)
