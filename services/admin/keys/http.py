"""Keys over HTTP; a key's plain text is in the one answer that makes it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from litestar import Request, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from services.admin.audit.rows import Actor
from services.admin.changes import Admin, Change
from services.admin.keys.changes import (
    OVERLAP,
    OVERLAP_MOST,
    create_key,
    revoke_key,
    rotate_key,
    set_expiry,
)
from services.admin.keys.rows import (
    ChangedKey,
    Key,
    KeyFilter,
    KeyState,
    MadeKey,
    NewKey,
    RotatedKey,
    find_key,
    list_keys,
)
from services.admin.pages import LIMIT, Listing, page_of
from services.admin.refusals import InvalidError
from services.admin.tokens.rows import Token
from services.core.environments import Environment
from services.domain.key_form import SHOWN_LENGTH

OperatorRequest = Request[Actor, Token, Any]
Time = Annotated[datetime, msgspec.Meta(tz=True)]
Overlap = Annotated[int, msgspec.Meta(ge=0, le=int(OVERLAP_MOST.total_seconds()))]

KEYS_OF_PARTNER = "/partners/{name:str}/keys"
PATH = "/keys"
ONE = f"{PATH}/{{key:str}}"


class WantedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to make; without `expires_at` it has no end."""

    environment: Environment
    expires_at: Time | None = None


class WantedRotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a key is replaced; `expires_at` is the new key's."""

    overlap_seconds: Overlap = int(OVERLAP.total_seconds())  # that both work
    expires_at: Time | None = None


class WantedExpiry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a key ends; null: never."""

    expires_at: Time | None


@get(PATH, sync_to_thread=True, tags=["keys"])
def list_all_keys(
    *,
    admin: Admin,
    partner: str | None = None,
    environment: Environment | None = None,
    in_state: Annotated[KeyState | None, QueryParameter(name="state")] = None,
    prefix: str | None = None,
    limit: int = LIMIT,
    cursor: str | None = None,
) -> Listing[Key]:
    """List keys, newest first. `prefix`: the first characters of a key, 12 at most."""
    wanted = KeyFilter(partner=partner, environment=environment, state=in_state, prefix=prefix)
    page = page_of(limit, cursor)
    with admin.reading() as connection:
        return list_keys(connection, wanted, page)


@post(KEYS_OF_PARTNER, tags=["keys"])
async def make_key(admin: Admin, request: OperatorRequest, name: str, data: WantedKey) -> MadeKey:
    """Make a key for a partner; its plain text is shown this once."""

    def work(change: Change) -> NewKey:
        return create_key(change, name, data.environment, data.expires_at)

    made = await admin.change(request.user, work)
    return MadeKey(made.key, await admin.reports_after_change(), secret=made.secret)


@get(ONE, sync_to_thread=True, tags=["keys"])
def get_key(admin: Admin, key: str) -> Key:
    """Return one key, named by its id or its first 12 characters."""
    with admin.reading() as connection:
        return find_key(connection, _name(key))


@post(f"{ONE}/rotate", tags=["keys"])
async def rotate_one_key(
    admin: Admin, request: OperatorRequest, key: str, data: WantedRotation | None = None
) -> RotatedKey:
    """Make a key in the place of another, which goes on working for the overlap (24 h)."""
    wanted = data or WantedRotation()
    overlap = timedelta(seconds=wanted.overlap_seconds)

    def work(change: Change) -> tuple[NewKey, Key]:
        return rotate_key(change, _name(key), overlap=overlap, expires_at=wanted.expires_at)

    made, replaced = await admin.change(request.user, work)
    nodes = await admin.reports_after_change()
    return RotatedKey(made.key, nodes, secret=made.secret, replaced=replaced)


@patch(ONE, tags=["keys"])
async def patch_key(
    admin: Admin, request: OperatorRequest, key: str, data: WantedExpiry
) -> ChangedKey:
    """Have a key work until a time to come, or without end."""

    def work(change: Change) -> Key:
        return set_expiry(change, _name(key), data.expires_at)

    changed = await admin.change(request.user, work)
    return ChangedKey(changed, await admin.reports_after_change())


@post(f"{ONE}/revoke", status_code=200, tags=["keys"])
async def revoke_one_key(admin: Admin, request: OperatorRequest, key: str) -> ChangedKey:
    """End a key for good."""
    revoked = await admin.change(request.user, lambda change: revoke_key(change, _name(key)))
    return ChangedKey(revoked, await admin.reports_after_change())


def _name(key: str) -> str:
    """Return how a key is named. Raises InvalidError for a key itself, and does not repeat it."""
    if key.startswith(tuple(each.key_prefix for each in Environment)) and len(key) > SHOWN_LENGTH:
        msg = f"name a key by its id or its first {SHOWN_LENGTH} characters: addresses are logged"
        raise InvalidError(msg)
    return key


KEYS: Sequence[HTTPRouteHandler] = (
    list_all_keys,
    make_key,
    get_key,
    rotate_one_key,
    patch_key,
    revoke_one_key,
)
