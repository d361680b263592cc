"""Partners over HTTP; a change of what the gateway runs answers with what its nodes run then."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from litestar import Request, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from services.admin.audit.rows import Actor
from services.admin.changes import Admin, Change
from services.admin.pages import LIMIT, Listing, page_of
from services.admin.partners.changes import (
    REASON_LIMIT,
    change_partner,
    create_partner,
    delete_partner,
    resume_partner,
    suspend_partner,
)
from services.admin.partners.rows import (
    ChangedPartner,
    Partner,
    PartnerFilter,
    list_partners,
    read_partner,
)
from services.admin.refusals import InvalidError
from services.admin.tokens.rows import Token
from services.core.external_text import ExternalText, FitText
from services.domain.states import PartnerState

OperatorRequest = Request[Actor, Token, Any]
Reason = Annotated[FitText, msgspec.Meta(max_length=REASON_LIMIT)]

PATH = "/partners"
ONE = f"{PATH}/{{name:str}}"


class NewPartner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A partner to add."""

    name: ExternalText
    tier: ExternalText
    contact: ExternalText


class PartnerChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What shall be another; null: as it is. A name stays."""

    tier: ExternalText | None = None
    contact: ExternalText | None = None


class Suspension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a partner is suspended; the audit log keeps it."""

    reason: Reason


class Resumption(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a partner may call again; the audit log keeps it."""

    reason: Reason | None = None


@get(PATH, sync_to_thread=True, tags=["partners"])
def list_all_partners(
    *,
    admin: Admin,
    search: str | None = None,
    tier: str | None = None,
    in_state: Annotated[PartnerState | None, QueryParameter(name="state")] = None,
    limit: int = LIMIT,
    cursor: str | None = None,
) -> Listing[Partner]:
    """List partners by name. `search`: a part of the name or of the contact."""
    wanted = PartnerFilter(search=search, tier=tier, state=in_state)
    page = page_of(limit, cursor)
    with admin.reading() as connection:
        return list_partners(connection, wanted, page)


@post(PATH, sync_to_thread=True, tags=["partners"])
def add_partner(admin: Admin, request: OperatorRequest, data: NewPartner) -> Partner:
    """Add a partner. It can call once it has a key."""
    tiers = admin.tiers()
    with admin.changing(request.user) as change:
        return create_partner(change, data.name, data.tier, data.contact, tiers=tiers)


@get(ONE, sync_to_thread=True, tags=["partners"])
def get_partner(admin: Admin, name: str) -> Partner:
    """Return one partner."""
    with admin.reading() as connection:
        return read_partner(connection, name)


@patch(ONE, tags=["partners"])
async def patch_partner(
    admin: Admin, request: OperatorRequest, name: str, data: PartnerChange
) -> ChangedPartner:
    """Give a partner another tier or contact."""
    if data.tier is None and data.contact is None:
        msg = "send `tier`, `contact` or both"
        raise InvalidError(msg)
    tiers = () if data.tier is None else await asyncio.to_thread(admin.tiers)

    def work(change: Change) -> Partner:
        return change_partner(change, name, tier=data.tier, contact=data.contact, tiers=tiers)

    partner = await admin.change(request.user, work)
    return ChangedPartner(
        partner, None if data.tier is None else await admin.reports_after_change()
    )


@post(f"{ONE}/suspend", status_code=200, tags=["partners"])
async def suspend_one_partner(
    admin: Admin, request: OperatorRequest, name: str, data: Suspension
) -> ChangedPartner:
    """Have every request of a partner refused with 403 PARTNER_SUSPENDED."""

    def work(change: Change) -> Partner:
        return suspend_partner(change, name, data.reason)

    partner = await admin.change(request.user, work)
    return ChangedPartner(partner, await admin.reports_after_change())


@post(f"{ONE}/resume", status_code=200, tags=["partners"])
async def resume_one_partner(
    admin: Admin, request: OperatorRequest, name: str, data: Resumption | None = None
) -> ChangedPartner:
    """Let a suspended partner call again, with the keys that it had."""

    def work(change: Change) -> Partner:
        return resume_partner(change, name, data.reason if data else None)

    partner = await admin.change(request.user, work)
    return ChangedPartner(partner, await admin.reports_after_change())


@delete(ONE, status_code=200, tags=["partners"])
async def remove_partner(admin: Admin, request: OperatorRequest, name: str) -> ChangedPartner:
    """Delete a partner with its keys, endpoints and deliveries in both environments."""
    partner = await admin.change(request.user, lambda change: delete_partner(change, name))
    return ChangedPartner(partner, await admin.reports_after_change())


PARTNERS: Sequence[HTTPRouteHandler] = (
    list_all_partners,
    add_partner,
    get_partner,
    patch_partner,
    suspend_one_partner,
    resume_one_partner,
    remove_partner,
)
