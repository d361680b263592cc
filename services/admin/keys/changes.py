"""Key changes: keys made, rotated, given an end, revoked; a key is shown once (A2).

A partner's row is held before its keys' rows, so that these changes and a partner's deletion wait
for each other in one order.
"""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

from services.admin.changes import Change
from services.admin.keys.rows import Key, KeyState, NewKey, find_key
from services.admin.partners.rows import refuse_unknown
from services.admin.refusals import ConflictError, InvalidError
from services.core.environments import Environment
from services.domain.key_form import fingerprint, make_api_key, shown_part

OVERLAP = timedelta(hours=24)  # a partner's deployment that takes longer is rare
OVERLAP_MOST = timedelta(days=30)
EXPIRY_MOST = timedelta(days=36_525)  # a century: what is later is mistyped, or means never

# Held as long as the transaction lasts: a partner that is being deleted gets no key.
HOLD_PARTNER = "SELECT id, now() FROM control.partners WHERE name = %(partner)s FOR KEY SHARE"

INSERT_KEY = """
INSERT INTO control.api_keys (id, partner_id, environment, shown, fingerprint, sealed, expires_at)
VALUES (%(id)s, %(partner_id)s, %(environment)s, %(shown)s, %(fingerprint)s, %(sealed)s,
    %(expires_at)s)
"""


def create_key(
    change: Change, partner: str, environment: Environment, expires_at: datetime | None = None
) -> NewKey:
    """Make a key; it works from the next publish on. Raises RefusedError."""
    partner_id, now = _hold_partner(change, partner)
    _require_future(expires_at, now)
    made = _insert(change, partner_id, environment, expires_at)
    change.record("key.created", target(made.id), after=_told(made.key))
    return made


def _hold_partner(change: Change, partner: str) -> tuple[UUID, datetime]:
    """Hold a partner; return its id and the time. Raises NotFoundError."""
    row = change.connection.execute(HOLD_PARTNER, {"partner": partner}).fetchone()
    return row if row is not None else refuse_unknown(partner)


def _insert(
    change: Change, partner_id: UUID, environment: Environment, expires_at: datetime | None
) -> NewKey:
    secret = make_api_key(environment)
    values = {
        "id": uuid4(),
        "partner_id": partner_id,
        "environment": environment,
        "shown": shown_part(secret),
        "fingerprint": fingerprint(secret),
        "sealed": change.box.seal(secret),
        "expires_at": expires_at,
    }
    change.connection.execute(INSERT_KEY, values)
    return NewKey(find_key(change.connection, str(values["id"])), secret)


HOLD_KEY = "SELECT FROM control.api_keys WHERE id = %(id)s FOR NO KEY UPDATE"


def _hold(change: Change, name: str) -> tuple[Key, UUID, datetime]:
    """Hold a key that is not revoked; return it, its partner's id and the time.

    Raises RefusedError.
    """
    key = find_key(change.connection, name)
    partner_id, now = _hold_partner(change, key.partner)
    change.connection.execute(HOLD_KEY, {"id": key.id})
    key = find_key(change.connection, str(key.id))  # as it is now that nobody else changes it
    if key.revoked_at is not None:
        msg = f"key {key.shown} of {key.partner} is revoked, for good: create a new one"
        raise ConflictError(msg)
    return key, partner_id, now


REPLACE_KEY = """
UPDATE control.api_keys SET expires_at = %(expires_at)s, replaced_by = %(replaced_by)s
WHERE id = %(id)s
"""


def rotate_key(
    change: Change,
    name: str,
    *,
    overlap: timedelta = OVERLAP,
    expires_at: datetime | None = None,
) -> tuple[NewKey, Key]:
    """Make a key in the place of another, which goes on working for `overlap`; return both.

    The new key expires at `expires_at`, by default never. Raises RefusedError.
    """
    if not timedelta() <= overlap <= OVERLAP_MOST:
        msg = f"the overlap must be from 0 to {OVERLAP_MOST.days} days"
        raise InvalidError(msg)
    old, partner_id, now = _hold(change, name)
    _require_rotatable(old)
    _require_future(expires_at, now)
    made = _insert(change, partner_id, Environment(old.environment), expires_at)
    ends = min(now + overlap, old.expires_at or now + overlap)
    values = {"id": old.id, "expires_at": ends, "replaced_by": made.id}
    change.connection.execute(REPLACE_KEY, values)
    replaced = find_key(change.connection, str(old.id))
    change.record("key.created", target(made.id), after=_told(made.key))
    change.record("key.rotated", target(old.id), before=_told(old), after=_told(replaced))
    return made, replaced


def _require_rotatable(key: Key) -> None:
    if key.replaced_by is not None:
        msg = f"key {key.shown} of {key.partner} was rotated already: its successor has the id"
        msg = f"{msg} {key.replaced_by}"
        raise ConflictError(msg)
    if key.state == KeyState.EXPIRED:
        msg = f"key {key.shown} of {key.partner} has expired: create a new one"
        raise ConflictError(msg)


SET_EXPIRY = "UPDATE control.api_keys SET expires_at = %(expires_at)s WHERE id = %(id)s"


def set_expiry(change: Change, name: str, expires_at: datetime | None) -> Key:
    """Have a key work until a time to come, or (None) without end. Raises RefusedError.

    A key that has expired works again.
    """
    before, _, now = _hold(change, name)
    if expires_at == before.expires_at:
        return before
    _require_future(expires_at, now)
    change.connection.execute(SET_EXPIRY, {"id": before.id, "expires_at": expires_at})
    after = find_key(change.connection, str(before.id))
    change.record("key.expiry_set", target(before.id), before=_told(before), after=_told(after))
    return after


# What it was stays known by its first characters and its fingerprint.
REVOKE_KEY = "UPDATE control.api_keys SET revoked_at = now(), sealed = NULL WHERE id = %(id)s"


def revoke_key(change: Change, name: str) -> Key:
    """End a key for good; the gateway refuses it from the next publish on. Raises RefusedError."""
    before, _, _ = _hold(change, name)
    change.connection.execute(REVOKE_KEY, {"id": before.id})
    after = find_key(change.connection, str(before.id))
    change.record("key.revoked", target(before.id), before=_told(before), after=_told(after))
    return after


def _require_future(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is None:
        return
    if expires_at <= now:
        msg = "`expires_at` is in the past: to end a key at once, revoke it"
        raise InvalidError(msg)
    if expires_at - now > EXPIRY_MOST:
        msg = "`expires_at` is more than a hundred years away: leave it out for a key without end"
        raise InvalidError(msg)


def target(key_id: UUID) -> str:
    """Return how the audit log names a key."""
    return f"key:{key_id}"


def _told(key: Key) -> dict[str, object]:
    """Return what the audit log shows of a key."""
    fields = ("partner", "environment", "shown", "expires_at", "revoked_at", "replaced_by")
    return {name: getattr(key, name) for name in fields}
