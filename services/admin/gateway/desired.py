"""Desired: kong.yml on disk, the last good one, and the partners of now -> what nodes should run.

A kong.yml that does not check is never sent; changes of keys go out all the same, with the last
good kong.yml.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
from psycopg import Connection
from psycopg.rows import TupleRow

from services.admin.gateway.consumers import read_consumers
from services.admin.gateway.node_sync import Candidate, Desired
from services.admin.gateway.store import Version, read_accepted, read_version
from services.core.encryption import MasterKeyError, SecretBox
from services.policy.check.checking import FaultyPolicyError, fault_lines, require_sound
from services.policy.render import (
    Addresses,
    Consumer,
    Document,
    PolicyError,
    parse_policy,
    render,
    tiers_of,
)


class Configuration(msgspec.Struct, frozen=True):
    """What nodes should run: kong.yml with the partners of now, their keys masked."""

    hash: str  # of the text with the keys: the configuration_hash of a node that runs it
    text: str


class _Basis(NamedTuple):
    """All that a Desired is made of; equal: nothing to do."""

    version: Version
    policy: str | None  # of the file on disk; None: it can't be read
    unreadable: str | None  # why
    accepted: str | None


class DesiredReader:
    """Works out what nodes should run; keeps keys in memory, decrypted, between two times."""

    def __init__(
        self,
        policy_file: str,
        addresses: Addresses,
        box: SecretBox,
        *,
        policy: str | None = None,
    ) -> None:
        """`addresses` take the place of kong.yml's own; `policy` that of the file's text."""
        self._file = policy_file
        self._policy = policy
        self._addresses = addresses
        self._box = _RememberingBox(box)
        self._basis: _Basis | None = None
        self._desired: Desired | None = None
        self._last_good: str | None = None  # the last kong.yml of the disk that could be sent

    def read(self, connection: Connection[TupleRow]) -> Desired:
        """Return what nodes should run now; the same object while that stays the same.

        Takes one snapshot of the database, on a connection in autocommit mode.
        """
        policy, unreadable = (self._policy, None) if self._policy else _read_file(self._file)
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            basis = _Basis(read_version(connection), policy, unreadable, read_accepted(connection))
            kept = self._kept(basis)
            if kept is not None:
                return kept
            try:
                consumers = read_consumers(connection, self._box)
            except MasterKeyError as exc:
                return Desired(basis.version.revision, None, policy_error=str(exc))
        self._box.forget_unused()
        self._desired = self._decide(basis, consumers)
        self._basis = basis
        return self._desired

    def _kept(self, basis: _Basis) -> Desired | None:
        """Return what there is if it still holds; rendering 10,000 partners takes seconds."""
        before, kept = self._basis, self._desired
        if before is None or kept is None or basis._replace(accepted=before.accepted) != before:
            return None
        if basis.accepted != before.accepted:
            if kept.wanted is None or basis.accepted != kept.wanted.policy:
                return None
            self._desired = replace(kept, fallback=None, accepted=basis.accepted)
            self._basis = basis
        return self._desired

    def _decide(self, basis: _Basis, consumers: list[Consumer]) -> Desired:
        error = basis.unreadable
        wanted: Candidate | None = None
        if basis.policy is not None:
            wanted, error = self._strictly(basis.policy, consumers, is_checked=False)
        if wanted is not None:
            self._last_good = basis.policy
        elif self._last_good is not None:
            # A file that is broken for a moment must not bring an older policy back.
            wanted, _ = self._strictly(self._last_good, consumers, is_checked=True)
        fallback = None
        if wanted is None or wanted.policy != basis.accepted:
            fallback = self._leniently(basis.accepted, consumers)
        if wanted is None:
            wanted, fallback = fallback, None
        return Desired(basis.version.revision, wanted, fallback, error, basis.accepted)

    def _strictly(
        self, policy: str, consumers: Iterable[Consumer], *, is_checked: bool
    ) -> tuple[Candidate | None, str | None]:
        """Return a candidate, or why there is none."""
        try:
            if not is_checked:
                require_sound(policy, self._file)
            return Candidate(render(policy, consumers, self._addresses), policy), None
        except FaultyPolicyError as exc:
            return None, "\n".join(fault_lines(self._file, exc.faults))
        except PolicyError as exc:
            return None, str(exc)
        except Exception as exc:  # noqa: BLE001 -- changes of keys go out whatever the file holds
            return None, f"{self._file} can't be rendered: {type(exc).__name__}"

    def _leniently(self, policy: str | None, consumers: list[Consumer]) -> Candidate | None:
        """Return a candidate of the accepted kong.yml, whatever the partners have become.

        A revoked key must go out also when one partner has a tier that this kong.yml lacks: that
        partner gets the lowest one for the time being.
        """
        if policy is None:
            return None
        try:
            return self._lowered(policy, consumers)
        except PolicyError:  # another release accepted it
            return None

    def _lowered(self, policy: str, consumers: list[Consumer]) -> Candidate:
        document = parse_policy(policy)
        tiers = tiers_of(document)
        lowest = min(tiers, key=lambda name: _minute(tiers[name]))
        fitting = [
            each if each.tier in tiers else msgspec.structs.replace(each, tier=lowest)
            for each in consumers
        ]
        names = {upstream.get("name") for upstream in document.get("upstreams", [])}
        upstreams = {k: v for k, v in self._addresses.upstreams.items() if k in names}
        addresses = Addresses(upstreams, self._addresses.counters)
        return Candidate(render(policy, fitting, addresses), policy)


class _RememberingBox:
    """A SecretBox that opens each secret once: 20,000 keys take a second."""

    def __init__(self, box: SecretBox) -> None:
        self._box = box
        self._known: dict[bytes, str] = {}
        self._used: dict[bytes, str] = {}

    def open(self, sealed: bytes) -> str:
        secret = self._known.get(sealed) or self._used.get(sealed) or self._box.open(sealed)
        self._used[sealed] = secret
        return secret

    def forget_unused(self) -> None:
        """Keep what was opened since the last time, and nothing else."""
        self._known, self._used = self._used, {}


def read_policy(file: str) -> str:
    """Return the text of a kong.yml. Raises PolicyError."""
    text, error = _read_file(file)
    if text is None:
        raise PolicyError(error)
    return text


def _read_file(file: str) -> tuple[str | None, str | None]:
    """Return the text, or None and why."""
    try:
        return Path(file).read_text("utf-8"), None
    except OSError as exc:
        return None, f"GATEWAY_POLICY: {file} can't be read: {exc.strerror}"
    except UnicodeDecodeError:
        return None, f"GATEWAY_POLICY: {file} is not UTF-8: save the file as UTF-8"


def _minute(tier: Document) -> float:
    config: Document = tier.get("config") or {}
    minute = config.get("minute")
    return float(minute) if isinstance(minute, int | float) else float("inf")
