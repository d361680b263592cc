"""Partner changes: partners added, changed, suspended, deleted, with each environment's copy.

Nothing here needs kong.yml but the names of its tiers, which the caller hands in: with a broken
file a partner can still be suspended.
"""

import re
from collections.abc import Collection
from typing import LiteralString
from uuid import UUID, uuid4

import msgspec
from psycopg import Connection, errors
from psycopg.rows import TupleRow

from services.admin.changes import Change
from services.admin.partners.rows import Partner, read_partner
from services.admin.refusals import ConflictError, InvalidError
from services.core.database import environment_used
from services.core.environments import Environment
from services.core.external_text import check_text
from services.core.mail_address import MailAddressError, mail_address
from services.domain.relay_lock import TAKE_RELAY_LOCK, relay_lock
from services.domain.states import PartnerState

REASON_LIMIT = 500  # characters
DELETE_TRIES = 5  # a partner has a few workers at most, and each is in the way once

# As the schema's checks have them. Looked at before PostgreSQL does: its log has the whole row of a
# check that fails, and people do paste a key into the wrong field.
NAME_FORM = re.compile(r"[a-z][a-z0-9-]{1,39}")
NO_NAMES = ("anonymous",)  # the gateway's own consumer

NAME_RULE = (
    "`name`: 2 to 40 characters, lower-case letters, digits and hyphens, first a letter"
    " (and not `anonymous`)"
)


INSERT_PARTNER = """
INSERT INTO control.partners (id, name, tier, contact)
VALUES (%(id)s, %(name)s, %(tier)s, %(contact)s)
"""


def create_partner(
    change: Change, name: str, tier: str, contact: str, *, tiers: Collection[str]
) -> Partner:
    """Add a partner without keys; `tiers` are kong.yml's. Raises RefusedError."""
    _require_tier(tier, tiers)
    contact = _contact(contact)
    if not NAME_FORM.fullmatch(name) or name in NO_NAMES:
        raise InvalidError(NAME_RULE)
    values = {"id": uuid4(), "name": name, "tier": tier, "contact": contact}
    try:
        change.connection.execute(INSERT_PARTNER, values)
    except errors.UniqueViolation as exc:
        msg = f"there is a partner {name} already"
        raise ConflictError(msg) from exc
    partner = read_partner(change.connection, name)
    for environment in Environment:
        copy_partner(change.connection, partner, environment)
    change.record("partner.created", target(name), after=_told(partner))
    return partner


UPDATE_TIER = "UPDATE control.partners SET tier = %(tier)s WHERE id = %(id)s"
# By itself, as a change of the tier has the gateway's configuration rendered anew.
UPDATE_CONTACT = "UPDATE control.partners SET contact = %(contact)s WHERE id = %(id)s"


def change_partner(
    change: Change,
    name: str,
    *,
    tier: str | None = None,
    contact: str | None = None,
    tiers: Collection[str] = (),
) -> Partner:
    """Give a partner another tier, of kong.yml's `tiers`, or contact. Raises RefusedError."""
    before = _hold(change, name)
    if tier is not None:
        _require_tier(tier, tiers)
    if contact is not None:
        contact = _contact(contact)
    given = {"tier": tier, "contact": contact}
    was = {field: getattr(before, field) for field in given}
    now = {field: value for field, value in given.items() if value not in {None, was[field]}}
    if not now:
        return before
    after = msgspec.structs.replace(before, **now)
    if "contact" in now:
        change.connection.execute(UPDATE_CONTACT, {"id": before.id, "contact": contact})
        for environment in Environment:
            copy_partner(change.connection, after, environment)
    if "tier" in now:
        change.connection.execute(UPDATE_TIER, {"id": before.id, "tier": tier})
    told_before = {field: was[field] for field in now}
    change.record("partner.changed", target(name), before=told_before, after=now)
    return after


def suspend_partner(change: Change, name: str, reason: str) -> Partner:
    """Have every request of a partner refused, until it is resumed. Raises RefusedError."""
    if not reason.strip():
        msg = "`reason`: say why; the audit log keeps it"
        raise InvalidError(msg)
    return _set_state(change, name, PartnerState.SUSPENDED, "partner.suspended", reason)


def resume_partner(change: Change, name: str, reason: str | None = None) -> Partner:
    """Let a suspended partner call again, with the keys that it had. Raises RefusedError."""
    return _set_state(change, name, PartnerState.ACTIVE, "partner.resumed", reason)


UPDATE_STATE = "UPDATE control.partners SET state = %(state)s WHERE id = %(id)s"


def _set_state(
    change: Change, name: str, state: PartnerState, action: str, reason: str | None
) -> Partner:
    if reason is not None:
        check_text("reason", reason, most=REASON_LIMIT)
    before = _hold(change, name)
    if before.state == state:
        msg = f"partner {name} is {state} already"
        raise ConflictError(msg)
    after = msgspec.structs.replace(before, state=state)
    for environment in Environment:
        copy_partner(change.connection, after, environment)
    # Last, as its trigger holds up every other change of partners and keys until the commit.
    change.connection.execute(UPDATE_STATE, {"id": before.id, "state": state})
    told = {"state": state, **({} if reason is None else {"reason": reason.strip()})}
    change.record(action, target(name), before={"state": before.state}, after=told)
    return after


DELETE_COPY = "DELETE FROM partners WHERE id = %(id)s"
# Also what a service noted of a key after its partner had been deleted.
DELETE_USES = """
DELETE FROM key_uses WHERE NOT EXISTS (
    SELECT FROM control.api_keys WHERE api_keys.id = key_id AND partner_id <> %(id)s
)
"""
SELECT_SHOWN = """
SELECT shown FROM control.api_keys WHERE partner_id = %(id)s AND revoked_at IS NULL
ORDER BY created_at, id
"""
DELETE_PARTNER = "DELETE FROM control.partners WHERE id = %(id)s"


def delete_partner(change: Change, name: str) -> Partner:
    """Remove a partner with its keys, endpoints and deliveries in both environments.

    Raises NotFoundError.
    """
    partner = _hold(change, name, HOLD_ALONE)
    connection, values = change.connection, {"id": partner.id}
    # A partner with many deliveries takes longer than the service lets other statements take.
    connection.execute("SET LOCAL statement_timeout = 0")
    shown = [row[0] for row in connection.execute(SELECT_SHOWN, values)]
    for environment in Environment:
        _delete_copy(connection, partner.id, environment)
    # Last, as its trigger holds up every other change of partners and keys until the commit.
    connection.execute(DELETE_PARTNER, values)
    change.record("partner.deleted", target(name), before={**_told(partner), "keys": shown})
    return partner


def _delete_copy(
    connection: Connection[TupleRow], partner_id: UUID, environment: Environment
) -> None:
    """Remove what an environment has of a partner.

    A worker that records a delivery locks it and then its endpoint; this goes the other way. So it
    may be the one that PostgreSQL ends, and begins again.
    """
    for left in reversed(range(DELETE_TRIES)):
        try:
            with connection.transaction(), environment_used(connection, environment):
                connection.execute(TAKE_RELAY_LOCK, relay_lock(environment))
                connection.execute(DELETE_COPY, {"id": partner_id})
                connection.execute(DELETE_USES, {"id": partner_id})
        except errors.DeadlockDetected:
            if not left:
                raise
        else:
            return


COPY_PARTNER = """
INSERT INTO partners (id, name, contact, state)
VALUES (%(id)s, %(name)s, %(contact)s, %(state)s)
ON CONFLICT (id) DO UPDATE
    SET name = excluded.name, contact = excluded.contact, state = excluded.state
"""


def copy_partner(
    connection: Connection[TupleRow], partner: Partner, environment: Environment
) -> None:
    """Write what an environment's services may know about a partner."""
    with environment_used(connection, environment):
        connection.execute(COPY_PARTNER, msgspec.structs.asdict(partner))


def target(name: str) -> str:
    """Return how the audit log names a partner."""
    return f"partner:{name}"


HOLD: LiteralString = "SELECT id FROM control.partners WHERE name = %(name)s FOR NO KEY UPDATE"
HOLD_ALONE: LiteralString = "SELECT id FROM control.partners WHERE name = %(name)s FOR UPDATE"


def _hold(change: Change, name: str, statement: LiteralString = HOLD) -> Partner:
    """Hold a partner's row, so that one changes it at a time. Raises NotFoundError."""
    change.connection.execute(statement, {"name": name})
    return read_partner(change.connection, name)


def _require_tier(tier: str, tiers: Collection[str]) -> None:
    if tier not in tiers:
        msg = f"`tier` {tier} is not in kong.yml, which has {', '.join(tiers)}"
        raise InvalidError(msg)


def _contact(given: str) -> str:
    """Return a contact as mails are sent to it. Raises InvalidError."""
    try:
        return mail_address(given)
    except MailAddressError as exc:
        msg = f"`contact`: {exc}"
        raise InvalidError(msg) from exc


def _told(partner: Partner) -> dict[str, str]:
    """Return what the audit log shows of a partner."""
    fields = {"tier": partner.tier, "contact": partner.contact, "state": str(partner.state)}
    return {"name": partner.name, **fields}
