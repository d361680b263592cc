"""Requests: the bodies and parameters of this API, checked; each message names its field."""

import base64
import binascii
from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, TypeVar, cast
from uuid import UUID

import msgspec

from services.core.http.inputs import (
    json_object,
    listed,
    refuse,
    refuse_unknown_fields,
    single_parameters,
)
from services.domain.events import STOCK_EVENTS, EventType
from services.domain.states import DeliveryState, EndpointState
from services.domain.stock import QUANTITY_MOST
from services.webhooks.secrets import SecretFormError, whsec_form
from services.webhooks.targets import TargetPolicy, TargetRefusedError, check_url
from services.webhooks.words import Simulation

OVERLAP_HOURS_MOST = 168  # a week
OVERLAP_HOURS = 24  # unless a partner says otherwise (W11)
SIMULATIONS_MOST = 100
HELD_BACK_MOST = 10  # deliveries; the first of them waits for 20 s
PAGE_MOST, PAGE = 100, 20  # deliveries of one page

SETTABLE_STATES = (EndpointState.ACTIVE, EndpointState.DISABLED)
WHEN = "`since` must be a time of RFC 3339 with its offset, such as 2026-11-22T09:14:03Z"

E = TypeVar("E", bound=StrEnum)


class Registration(msgspec.Struct, frozen=True):
    """A new webhook; `secret` is in its whsec_ form, None when we are to make one."""

    url: str
    events: list[EventType]
    secret: str | None


class Change(msgspec.Struct, frozen=True):
    """What changes of a webhook; None stays as it is."""

    url: str | None
    events: list[EventType] | None
    state: EndpointState | None


class Rotation(msgspec.Struct, frozen=True):
    """A change of secret; the old one is valid for `overlap` more."""

    secret: str | None
    overlap: timedelta


class Replay(msgspec.Struct, frozen=True):
    """Which events are sent again."""

    since: datetime
    include_delivered: bool


class Simulated(msgspec.Struct, frozen=True):
    """What the next attempts look like (A9); its own answer too."""

    outcome: Simulation
    attempts: int


class Page(msgspec.Struct, frozen=True):
    """Which deliveries are listed: those of events before `before`, newest first."""

    state: DeliveryState | None
    limit: int
    before: UUID | None


def registration_of(body: bytes, policy: TargetPolicy) -> Registration:
    """Return the body of a registration. Raises PartnerError (400)."""
    found = _fields(body, required=("url", "events"), optional=("secret",))
    return Registration(
        _url(found["url"], policy), _events(found["events"]), _secret(found.get("secret"))
    )


def change_of(body: bytes, policy: TargetPolicy) -> Change:
    """Return the body of a change. Raises PartnerError (400)."""
    names = ("url", "events", "state")
    found = _fields(body, optional=names)
    if not found:
        refuse(f"The body changes nothing: send {listed(names[:2])} or `state`, or several of them")
    return Change(
        _url(found["url"], policy) if "url" in found else None,
        _events(found["events"]) if "events" in found else None,
        _one_of("state", found["state"], SETTABLE_STATES) if "state" in found else None,
    )


def rotation_of(body: bytes) -> Rotation:
    """Return the body of a rotation, of which every field has a default. Raises PartnerError."""
    found = _fields(body, optional=("secret", "overlap_hours"))
    hours = found.get("overlap_hours", OVERLAP_HOURS)
    if type(hours) not in {int, float} or not 0 <= hours <= OVERLAP_HOURS_MOST:
        refuse(f"`overlap_hours` must be a number from 0 to {OVERLAP_HOURS_MOST}")
    return Rotation(_secret(found.get("secret")), timedelta(hours=hours))


def replay_of(body: bytes) -> Replay:
    """Return the body of a replay. Raises PartnerError (400)."""
    found = _fields(body, required=("since",), optional=("include_delivered",))
    include_delivered = found.get("include_delivered", False)
    if not isinstance(include_delivered, bool):
        refuse("`include_delivered` must be true or false")
    return Replay(_time(found["since"]), include_delivered)


def quantity_of(body: bytes) -> int:
    """Return the quantity that a body sets. Raises PartnerError (400)."""
    return _whole("quantity", _fields(body, required=("quantity",))["quantity"], 0, QUANTITY_MOST)


def simulation_of(body: bytes) -> Simulated:
    """Return the body of a simulation. Raises PartnerError (400)."""
    found = _fields(body, required=("outcome", "attempts"))
    outcome = _one_of("outcome", found["outcome"], tuple(Simulation))
    most = HELD_BACK_MOST if outcome is Simulation.OUT_OF_ORDER else SIMULATIONS_MOST
    return Simulated(outcome, _whole("attempts", found["attempts"], 1, most))


def page_of(query_string: bytes) -> Page:
    """Return what a query string asks for. Raises PartnerError (400)."""
    found = single_parameters(query_string, ("state", "limit", "cursor"))
    limit = found.get("limit", str(PAGE))
    # More digits than the largest has are refused before int() reads them.
    number = int(limit) if limit.isascii() and limit.isdigit() and len(limit) <= 3 else limit
    return Page(
        _one_of("state", found["state"], tuple(DeliveryState)) if "state" in found else None,
        _whole("limit", number, 1, PAGE_MOST),
        _event_of(found["cursor"]) if "cursor" in found else None,
    )


def cursor_after(event_id: UUID) -> str:
    """Return the cursor of the page after the one that this event's delivery ends."""
    return base64.urlsafe_b64encode(event_id.bytes).decode().rstrip("=")


def _event_of(cursor: str) -> UUID:
    try:
        event_id = UUID(bytes=base64.b64decode(f"{cursor}==", altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        event_id = None
    if event_id is None or cursor_after(event_id) != cursor:
        refuse("`cursor` is none of ours: send `next_cursor` of the page before")
    return event_id


def _fields(
    body: bytes, *, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    known = (*required, *optional)
    found = json_object(body, known)
    for name in required:
        if name not in found:
            refuse(f"`{name}` is missing")
    refuse_unknown_fields(found, known)
    return found


def _url(given: object, policy: TargetPolicy) -> str:
    if not isinstance(given, str):
        refuse("`url` must be a string")
    try:
        return check_url(given, policy)
    except TargetRefusedError as exc:
        refuse(f"`url`: {exc}")


def _secret(given: object) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str):
        refuse("`secret` must be a string")
    try:
        return whsec_form(given)
    except SecretFormError as exc:
        refuse(f"`secret`: {exc}")


def _events(given: object) -> list[EventType]:
    """Return event types in the contract's order, each once."""
    known = listed(STOCK_EVENTS)
    if not isinstance(given, list):
        refuse(f"`events` must be a list of {known}")
    if not given:
        refuse(f"`events` is empty: send one or more of {known}")
    for place, event_type in enumerate(cast("list[object]", given)):
        _one_of(f"events[{place}]", event_type, STOCK_EVENTS)
    return [event_type for event_type in STOCK_EVENTS if event_type in given]


def _one_of(field: str, given: object, allowed: Collection[E]) -> E:
    found = next((each for each in allowed if given == each), None)
    if found is None:
        refuse(f"`{field}` must be one of {listed(allowed)}")
    return found


def _whole(field: str, given: object, least: int, most: int) -> int:
    if type(given) is not int or not least <= given <= most:
        refuse(f"`{field}` must be a whole number from {least} to {most}")
    return given


def _time(given: object) -> datetime:
    try:
        return msgspec.convert(given, Annotated[datetime, msgspec.Meta(tz=True)])
    except (msgspec.ValidationError, OverflowError):
        refuse(WHEN)
