"""Resolver: the addresses of a name, within a time limit; the system's own lookup has none."""

import ipaddress
import socket
import threading
import time
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
# Seconds that a lookup of another name is evidence: twice what resolv.conf's defaults take for one.
EVIDENCE_FOR = 60.0


class Resolver:
    """Looks names up in threads of their own; one for the whole process.

    A name that is being looked up already is not looked up again: callers wait for the same
    answer, so that one name that hangs costs one thread. Nothing is kept once it was answered.

    When no server answers about a name, the receiver's name servers are away, or our resolver is.
    Ours is, if another name had no answer either within EVIDENCE_FOR, and no other name had one.
    """

    def __init__(
        self,
        lookup: Lookup | None = None,
        *,
        max_lookups: int = MAX_LOOKUPS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the lookup, None stands for the system's; and `clock`, monotonic seconds."""
        self._lookup = lookup or system_lookup
        self._max_lookups = max_lookups
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[list[Address]]] = {}
        self._answered = _LatestNames()
        self._unanswered = _LatestNames()

    def resolve(self, name: str, within: float) -> list[Address]:
        """Return the addresses of a name, at least one, in the system's order of preference.

        `within` is in seconds. Raises CallFailedError, TimeoutError, and OurFaultError.
        """
        try:
            addresses = self._begin(name).result(timeout=within)
        except (OSError, ValueError) as exc:
            self._raise_if_ours(name, exc)
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
            if is_answer:
                self._answered.note(name, self._clock())

    def _raise_if_ours(self, name: str, exc: Exception) -> None:
        """Raise OurFaultError if this machine, or the resolver that it asks, is at fault."""
        unanswered = isinstance(exc, TimeoutError) or _code(exc) in NO_ANSWER
        if _code(exc) in NOT_ASKED or (unanswered and self._nothing_is_answered(name)):
            msg = "our resolver does not answer"
            raise OurFaultError(msg) from exc

    def _nothing_is_answered(self, name: str) -> bool:
        """Note that a name had no answer; say whether others had none either."""
        with self._lock:
            now = self._clock()
            self._unanswered.note(name, now)
            since = now - EVIDENCE_FOR
            return self._unanswered.has_other(name, since) and not self._answered.has_other(
                name, since
            )


class _LatestNames:
    """The two names that were noted last, and when: enough to know of another one."""

    def __init__(self) -> None:
        self._noted: dict[str, float] = {}

    def note(self, name: str, now: float) -> None:
        self._noted.pop(name, None)
        self._noted[name] = now
        if len(self._noted) > 2:
            del self._noted[next(iter(self._noted))]

    def has_other(self, name: str, since: float) -> bool:
        return any(each != name and at >= since for each, at in self._noted.items())


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


def _code(exc: Exception) -> int | None:
    return exc.errno if isinstance(exc, socket.gaierror) else None


def _not_resolved(detail: str) -> CallFailedError:
    return CallFailedError(AttemptOutcome.NAME_NOT_RESOLVED, detail)
