"""Call: the limits of one send, in time and bytes, shared by all that works for it."""

import time

from services.webhooks.delivery.outcome import AttemptOutcome

HEAD_LIMIT = 64 * 1024  # bytes up to the end of an answer's headers, 1xx answers included
BODY_LIMIT = 16 * 1024  # bytes of an answer's body; none of them is kept
BODY_SECONDS = 1.0  # the status has decided; a body is only read so that the connection stays


class CallFailedError(Exception):
    """A send ended without a status."""

    def __init__(self, outcome: AttemptOutcome, detail: str) -> None:
        """Take what the delivery log tells: no address of ours and no byte of an answer."""
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail


class ConnectionLostError(CallFailedError):
    """The receiver closed or reset the connection before the first byte of an answer."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__(
            AttemptOutcome.CONNECTION_FAILED, "the connection was closed before an answer came"
        )


class OurFaultError(Exception):
    """A send ended by what this machine lacks: files, ports, memory, a resolver that answers."""


class Call:
    """One send: begun by the sender, obeyed by the network. One object serves one thread."""

    def __init__(self, *, connect_seconds: float, call_seconds: float) -> None:
        """Take the limits of each call, in seconds."""
        self._connect_seconds = connect_seconds
        self._call_seconds = call_seconds
        self._deadline = 0.0
        self._connected_by = 0.0
        self._bytes_left = HEAD_LIMIT
        self.connects = 0  # connections that were opened for this call
        self.sent = False  # a first byte may have gone out
        self.answer_begun = False  # a first byte has come
        self.has_status = False

    def begin(self) -> None:
        """Start the clock of a new call."""
        self._deadline = time.monotonic() + self._call_seconds
        self._bytes_left = HEAD_LIMIT
        self.connects = 0
        self.sent = False
        self.answer_begun = False
        self.has_status = False

    def begin_connect(self) -> None:
        """Start the clock of a new connection: lookup, TCP and TLS together."""
        self.connects += 1
        self._connected_by = min(time.monotonic() + self._connect_seconds, self._deadline)

    def begin_body(self) -> None:
        """Leave less time and room, now that the status is known."""
        self.has_status = True
        self._deadline = min(self._deadline, time.monotonic() + BODY_SECONDS)
        self._bytes_left = BODY_LIMIT

    def seconds_to_connect(self) -> float:
        """Return what is left to connect, above 0. Raises CallFailedError."""
        left = self._connected_by - time.monotonic()
        if left <= 0:
            raise self.connect_timeout()
        return left

    def seconds(self) -> float:
        """Return what is left of the call, above 0. Raises CallFailedError."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self.timeout()
        return left

    def received(self, size: int) -> None:
        """Count bytes of an answer. Raises CallFailedError when there are too many."""
        self.answer_begun = True
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise CallFailedError(
                AttemptOutcome.BAD_ANSWER,
                f"the answer's headers are longer than {HEAD_LIMIT // 1024} KiB",
            )

    def timeout(self) -> CallFailedError:
        """Return the failure of a call that took too long."""
        return CallFailedError(
            AttemptOutcome.TIMEOUT, f"no answer within {self._call_seconds:g} seconds"
        )

    def connect_timeout(self) -> CallFailedError:
        """Return the failure of a connection that took too long."""
        return CallFailedError(
            AttemptOutcome.TIMEOUT, f"no connection within {self._connect_seconds:g} seconds"
        )
