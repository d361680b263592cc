"""Resolver: the addresses of a name, within a time limit; the system's own lookup has none."""

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv6Address

from services.webhooks.delivery.call import CallFailedError, OurFaultError
from services.webhooks.delivery.outcome import AttemptOutcome

Address = IPv4Address | IPv6Address
Lookup = Callable[[str], Iterable[str]]  # raises OSError

# Of getaddrinfo: no server answered about the name. And: this machine could not even ask.
NO_ANSWER = frozenset({socket.EAI_AGAIN, socket.EAI_FAIL})
NOT_ASKED = frozenset({socket.EAI_MEMORY, socket.EAI_SYSTEM})

MAX_LOOKUPS = 64  # names at a time; one that hangs holds a thread until the system gives it up


class Resolver:
    """Looks names up in threads of their own; one for the whole process.

    A name that is being looked up already is not looked up again: callers wait for the same
    answer, so that one name that hangs costs one thread. Nothing is kept once it was answered.

    When no server answers about a name, the receiver's name servers are away, or our resolver is.
    The receiver's are, if another name was answered meanwhile; else nobody is blamed.
    """

    def __init__(self, lookup: Lookup | None = None, *, max_lookups: int = MAX_LOOKUPS) -> None:
        """Take the lookup; None stands for the system's."""
        self._lookup = lookup or system_lookup
        self._max_lookups = max_lookups
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[list[Address]]] = {}
        self._answers = 0

    def resolve(self, name: str, within: float) -> list[Address]:
        """Return the addresses of a name, at least one, in the system's order of preference.

        `within` is in seconds. Raises CallFailedError, TimeoutError, and OurFaultError.
        """
        answers = self._answers
        try:
            addresses = self._begin(name).result(timeout=within)
        except (OSError, ValueError) as exc:
            _raise_if_ours(exc, others_answered=self._answers > answers)
            if isinstance(exc, TimeoutError):
                raise
            msg = "the host's name was not found"
            raise _not_resolved(msg) from exc
        if not addresses:
            msg = "the host's name has no address"
            raise _not_resolved(msg)
        return addresses

    def _begin(self, name: str) -> "Future[list[Address]]":
        with self._lock:
            if name in self._under_way:
                return self._under_way[name]
            if len(self._under_way) >= self._max_lookups:
                msg = "too many names are being looked up"
                raise OurFaultError(msg)
            found = Future[list[Address]]()
            # Daemons, because a lookup that hangs must not hold up the end of the process.
            threading.Thread(
                target=self._run, args=(name, found), name="lookup", daemon=True
            ).start()  # raises RuntimeError when the system gives us no more threads
            self._under_way[name] = found
        return found

    def _run(self, name: str, found: "Future[list[Address]]") -> None:
        try:
            addresses = [ipaddress.ip_address(each) for each in self._lookup(name)]
        except Exception as exc:  # noqa: BLE001 -- whoever waits for it gets it
            self._forget(name, is_answer=_code(exc) not in NO_ANSWER | NOT_ASKED)
            found.set_exception(exc)
        else:
            self._forget(name, is_answer=True)
            found.set_result(addresses)

    def _forget(self, name: str, *, is_answer: bool) -> None:
        with self._lock:
            del self._under_way[name]
            self._answers += is_answer


def system_lookup(name: str) -> list[str]:
    """Return what getaddrinfo says, each address once. Raises OSError."""
    # As bytes, so that Python's IDNA codec does not change an ASCII name.
    found = socket.getaddrinfo(
        name.encode("ascii"), None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )
    internet = (socket.AF_INET, socket.AF_INET6)
    return list(
        dict.fromkeys(str(address[0]) for family, *_, address in found if family in internet)
    )


def _raise_if_ours(exc: Exception, *, others_answered: bool) -> None:
    """Raise OurFaultError unless the name, or its own servers, are known to be at fault."""
    unanswered = isinstance(exc, TimeoutError) or _code(exc) in NO_ANSWER
    if _code(exc) in NOT_ASKED or (unanswered and not others_answered):
        msg = "our resolver does not answer"
        raise OurFaultError(msg) from exc


def _code(exc: Exception) -> int | None:
    return exc.errno if isinstance(exc, socket.gaierror) else None


def _not_resolved(detail: str) -> CallFailedError:
    return CallFailedError(AttemptOutcome.NAME_NOT_RESOLVED, detail)
