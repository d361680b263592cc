"""Deliveries over HTTP: searched over all partners' endpoints; one read, one sent again."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, get, post
from litestar.params import QueryParameter

from services.admin.audit.rows import Actor
from services.admin.changes import Admin
from services.admin.deliveries.redelivery import RETRIED_MOST, Retried, retry_delivery, retry_many
from services.admin.deliveries.rows import (
    Delivery,
    DeliveryDetails,
    DeliveryFilter,
    Key,
    list_deliveries,
    read_delivery,
)
from services.admin.pages import LIMIT, Listing, page_of
from services.admin.tokens.rows import Token
from services.core.environments import Environment
from services.domain.events import EventType
from services.domain.states import DeliveryState

OperatorRequest = Request[Actor, Token, Any]

PATH = "/{environment:str}/deliveries"
ONE = f"{PATH}/{{endpoint_id:uuid}}/{{event_id:uuid}}"


class DeliveryName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One delivery."""

    endpoint_id: UUID
    event_id: UUID


class WantedRetries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which deliveries are sent again."""

    deliveries: Annotated[list[DeliveryName], msgspec.Meta(min_length=1, max_length=RETRIED_MOST)]


@get(PATH, sync_to_thread=True, tags=["deliveries"])
def search_deliveries(
    *,
    admin: Admin,
    environment: Environment,
    partner: str | None = None,
    endpoint: UUID | None = None,
    in_state: Annotated[DeliveryState | None, QueryParameter(name="state")] = None,
    event_type: EventType | None = None,
    product_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = LIMIT,
    cursor: str | None = None,
) -> Listing[Delivery]:
    """List deliveries, newest event first. `since` and `until`: when the event happened."""
    wanted = DeliveryFilter(
        partner=partner,
        endpoint=endpoint,
        state=in_state,
        event_type=event_type,
        product_id=product_id,
        since=since,
        until=until,
    )
    page = page_of(limit, cursor)
    with admin.reading(environment) as connection:
        return list_deliveries(connection, environment, wanted, page)


@get(ONE, sync_to_thread=True, tags=["deliveries"])
def show_delivery(
    admin: Admin, environment: Environment, endpoint_id: UUID, event_id: UUID
) -> DeliveryDetails:
    """Read one with its attempts."""
    with admin.reading(environment) as connection:
        return read_delivery(connection, environment, Key(event_id, endpoint_id))


@post(f"{ONE}/retry", status_code=202, sync_to_thread=True, tags=["deliveries"])
def retry(
    admin: Admin,
    request: OperatorRequest,
    environment: Environment,
    endpoint_id: UUID,
    event_id: UUID,
) -> DeliveryDetails:
    """Send one that has ended again, within a second, in a new series of attempts."""
    key = Key(event_id, endpoint_id)
    with admin.changing(request.user, environment) as change:
        retry_delivery(change, environment, key)
        return read_delivery(change.connection, environment, key)


@post(f"{PATH}/retry", status_code=202, sync_to_thread=True, tags=["deliveries"])
def retry_several(
    admin: Admin, request: OperatorRequest, environment: Environment, data: WantedRetries
) -> Retried:
    """Send several that have ended again, as far as they can be."""
    keys = [Key(each.event_id, each.endpoint_id) for each in data.deliveries]
    with admin.changing(request.user, environment) as change:
        return retry_many(change, environment, keys)


DELIVERIES = (search_deliveries, show_delivery, retry, retry_several)
