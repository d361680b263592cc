"""Network: resolve, check, connect to what was checked, all within the call's limits (W12).

httpcore asks a backend for its connections and its bytes. This one ignores the timeouts that
httpcore passes, because each of them is for one step; a Call has what is left for all steps.
"""

# ruff: noqa: ARG002 -- the signatures are httpcore's

import errno
import ipaddress
import os
import select
import socket
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

from services.webhooks.delivery.call import (
    Call,
    CallFailedError,
    ConnectionLostError,
    OurFaultError,
)
from services.webhooks.delivery.outcome import AttemptOutcome
from services.webhooks.delivery.resolver import Address, Resolver
from services.webhooks.targets import TargetPolicy, TargetRefusedError, check_address

READ_BYTES = 16 * 1024  # at a time; answers are small
CLOSED_ERRORS = (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
# What this machine lacks, or its own firewall says. An unreachable network or host is not among
# them: routers of the receiver's network say that as well.
OUR_ERRORS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENETDOWN, errno.EPERM}
)
OUR_TLS_ERRORS = frozenset({"NO_CIPHERS_AVAILABLE", "NO_PROTOCOLS_AVAILABLE", "MALLOC_FAILURE"})


class GuardedBackend(httpcore.NetworkBackend):
    """Opens connections, to allowed addresses only."""

    def __init__(
        self, call: Call, policy: TargetPolicy, resolver: Resolver, tls: ssl.SSLContext
    ) -> None:
        """Take the call that every connection obeys, and what verifies receivers."""
        self._call = call
        self._policy = policy
        self._resolver = resolver
        self._tls = tls

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Return a connection to a checked address of a host.

        Raises CallFailedError, and OurFaultError.
        """
        self._call.begin_connect()
        addresses = self._allowed_addresses(host)
        failure: CallFailedError | None = None
        for index, address in enumerate(addresses):
            # An address that hangs leaves time for those after it.
            share = self._call.seconds_to_connect() / (len(addresses) - index)
            try:
                return GuardedStream(_connect(address, port, share), self._call, self._tls)
            except TimeoutError:
                failure = self._call.connect_timeout()
            except OSError as exc:
                if _is_ours(exc, address):
                    raise OurFaultError(_reason(exc)) from exc
                failure = CallFailedError(AttemptOutcome.CONNECTION_FAILED, _reason(exc))
        raise failure or self._call.connect_timeout()

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Refuse: a socket file is on this machine."""
        raise CallFailedError(AttemptOutcome.REFUSED_TARGET, "socket files are not called")

    def _allowed_addresses(self, host: str) -> list[Address]:
        addresses = _literal(host)
        if addresses is None:
            try:
                addresses = self._resolver.resolve(host, self._call.seconds_to_connect())
            except TimeoutError as exc:
                raise self._call.connect_timeout() from exc
        try:
            for address in addresses:  # one forbidden address condemns the name
                check_address(address, self._policy)
        except TargetRefusedError as exc:
            raise CallFailedError(AttemptOutcome.REFUSED_TARGET, str(exc)) from exc
        return addresses


class GuardedStream(httpcore.NetworkStream):
    """A connection that obeys its call's limits."""

    def __init__(self, connection: socket.socket, call: Call, tls: ssl.SSLContext) -> None:
        """Take a connected socket, to be closed here."""
        self._socket = connection
        self._call = call
        self._tls = tls
        self._unsent = b""
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Keep bytes until the answer is read: head and body leave as one packet."""
        self._unsent += buffer

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Send what was written, then return the next bytes of the answer, b"" at its end.

        Raises CallFailedError, and OurFaultError.
        """
        try:
            self._send_unsent()
            self._socket.settimeout(self._call.seconds())
            received = self._socket.recv(min(max_bytes, READ_BYTES))
        except TimeoutError as exc:
            raise self._call.timeout() from exc
        except OSError as exc:
            if isinstance(exc, ssl.SSLError):
                raise _tls_failure(exc) from exc
            if exc.errno in OUR_ERRORS:
                raise OurFaultError(_reason(exc)) from exc
            raise self._lost() from exc
        if received:
            self._call.received(len(received))
        elif not self._call.has_status:
            raise self._lost()
        return received

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Return the same connection with TLS, the receiver verified.

        Raises CallFailedError, and OurFaultError.
        """
        try:
            self._socket.settimeout(self._call.seconds_to_connect())
            secured = self._tls.wrap_socket(self._socket, server_hostname=server_hostname)
        except TimeoutError as exc:
            self.close()
            raise self._call.connect_timeout() from exc
        except (OSError, ValueError) as exc:
            self.close()
            raise _tls_failure(exc) from exc
        except CallFailedError:
            self.close()
            raise
        return GuardedStream(secured, self._call, self._tls)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 -- httpcore's signature
        """Answer what httpcore asks: whether an idle connection has something to read."""
        if info == "is_readable":
            return self._socket.fileno() < 0 or self._decrypted() or bool(self._poll.poll(0))
        return None

    def _decrypted(self) -> bool:
        """Say whether TLS holds bytes that the socket no longer shows."""
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    def _send_unsent(self) -> None:
        unsent, self._unsent = memoryview(self._unsent), b""
        try:
            while unsent:
                self._call.sent = True
                self._socket.settimeout(self._call.seconds())
                unsent = unsent[self._socket.send(unsent) :]
        except CLOSED_ERRORS:
            pass  # a receiver may answer and close before it has read everything

    def _lost(self) -> CallFailedError:
        if self._call.answer_begun:
            return CallFailedError(AttemptOutcome.BAD_ANSWER, "the answer was cut off")
        return ConnectionLostError()


def _literal(host: str) -> list[Address] | None:
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        return None


def _connect(address: Address, port: int, within: float) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(within)
        connection.connect((str(address), port))  # numeric: no second lookup
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection


def _reason(exc: OSError) -> str:
    return f"no connection: {os.strerror(exc.errno) if exc.errno else 'unknown reason'}"


def _is_ours(exc: OSError, address: Address) -> bool:
    """Say whether a connection failed for want of something on this machine.

    No port is left for an IPv4 connection; for IPv6 the same number says that we have no address
    of that family, so that the receiver needs an IPv4 address.
    """
    out_of_ports = exc.errno == errno.EADDRNOTAVAIL and address.version == 4
    return out_of_ports or exc.errno in OUR_ERRORS


def _tls_failure(exc: OSError | ValueError) -> CallFailedError | OurFaultError:
    if isinstance(exc, ssl.SSLError) and exc.reason in OUR_TLS_ERRORS:
        return OurFaultError(f"TLS failed: {exc.reason}")
    if isinstance(exc, OSError) and exc.errno in OUR_ERRORS and not isinstance(exc, ssl.SSLError):
        return OurFaultError(_reason(exc))
    if isinstance(exc, ssl.SSLCertVerificationError):
        detail = f"the certificate is not accepted: {exc.verify_message}"
    elif isinstance(exc, ssl.SSLError) and exc.reason:
        detail = f"TLS failed: {exc.reason}"
    else:
        detail = "the connection was closed during TLS"
    return CallFailedError(AttemptOutcome.TLS_FAILED, detail)
