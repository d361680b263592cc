"""Senders with short limits, and the certificates of receivers with TLS."""

import datetime
import ipaddress
import ssl
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.webhooks.delivery.resolver import Lookup, Resolver
from services.webhooks.delivery.sender import Sender, tls_context
from services.webhooks.targets import TargetPolicy

CONNECT_SECONDS = 0.5
CALL_SECONDS = 1.0
DEVELOPMENT = TargetPolicy.of(development=True, ports="443")

MakeSender = Callable[..., Sender]


@pytest.fixture
def make_sender() -> Generator[MakeSender]:
    senders: list[Sender] = []

    def make(
        policy: TargetPolicy = DEVELOPMENT,
        *,
        tls: ssl.SSLContext | None = None,
        lookup: Lookup | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        call_seconds: float = CALL_SECONDS,
    ) -> Sender:
        sender = Sender(
            policy,
            connect_seconds=connect_seconds,
            call_seconds=call_seconds,
            tls=tls,
            resolver=None if lookup is None else Resolver(lookup),
        )
        senders.append(sender)
        return sender

    yield make
    for sender in senders:
        sender.close()


@pytest.fixture
def sender(make_sender: MakeSender) -> Sender:
    return make_sender()


class Authority:
    """A certificate authority of the tests, and what trusts it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        certificate = self._issue(self._name, self._key, authority=True)
        self.trusting = tls_context(
            ssl.create_default_context(cadata=certificate.public_bytes(_PEM).decode())
        )

    def server(
        self, *, host: str = "127.0.0.1", days: int = 1, self_signed: bool = False
    ) -> ssl.SSLContext:
        """Return what a receiver with a certificate for `host` serves; -1 day: expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._issue(name, key, host=host, days=days, self_signed=self_signed)
        chain = self._folder / "chain.pem"
        chain.write_bytes(
            certificate.public_bytes(_PEM)
            + key.private_bytes(
                _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        return context

    def _issue(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        host: str = "tests",
        days: int = 1,
        authority: bool = False,
        self_signed: bool = False,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        signer = key if self_signed else self._key
        # Python 3.13 takes none without the identifiers, as RFC 5280 (4.2.1) has it.
        subject_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name if self_signed else self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=2))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
            .add_extension(subject_id, critical=False)
            .add_extension(authority_id, critical=False)
            .add_extension(_key_usage(authority=authority), critical=True)
            .sign(signer, hashes.SHA256())
        )


_PEM = serialization.Encoding.PEM


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    others = dict.fromkeys(
        (
            *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
            *("crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    return x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, **others)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)
