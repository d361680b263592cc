"""Endpoints over HTTP: the webhook subscriptions of any partner."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, get, post
from litestar.params import QueryParameter

from services.admin.audit.rows import Actor
from services.admin.changes import Admin
from services.admin.deliveries.redelivery import replay_endpoint
from services.admin.endpoints.rows import (
    Endpoint,
    EndpointDetails,
    EndpointFilter,
    disable_endpoint,
    enable_endpoint,
    list_endpoints,
    read_endpoint,
)
from services.admin.pages import LIMIT, Listing, page_of
from services.admin.tokens.rows import Token
from services.core.environments import Environment
from services.domain.redelivery import Replayed
from services.domain.states import EndpointState

OperatorRequest = Request[Actor, Token, Any]

PATH = "/{environment:str}/endpoints"
ONE = f"{PATH}/{{endpoint_id:uuid}}"


class WantedReplay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events an endpoint is sent (again)."""

    since: Annotated[datetime, msgspec.Meta(tz=True)]
    include_delivered: bool = False


@get(PATH, sync_to_thread=True, tags=["endpoints"])
def list_all_endpoints(
    *,
    admin: Admin,
    environment: Environment,
    partner: str | None = None,
    in_state: Annotated[EndpointState | None, QueryParameter(name="state")] = None,
    failing: bool | None = None,
    url: str | None = None,
    limit: int = LIMIT,
    cursor: str | None = None,
) -> Listing[Endpoint]:
    """List endpoints, newest first; deleted ones with `state=deleted`. `url`: a part of it."""
    wanted = EndpointFilter(partner=partner, state=in_state, failing=failing, url=url)
    page = page_of(limit, cursor)
    with admin.reading(environment) as connection:
        return list_endpoints(connection, wanted, page)


@get(ONE, sync_to_thread=True, tags=["endpoints"])
def show_endpoint(admin: Admin, environment: Environment, endpoint_id: UUID) -> EndpointDetails:
    """Read one, with what it was sent in the last 7 days."""
    return _details(admin, environment, endpoint_id)


@post(f"{ONE}/disable", status_code=200, sync_to_thread=True, tags=["endpoints"])
def stop_endpoint(
    admin: Admin, request: OperatorRequest, environment: Environment, endpoint_id: UUID
) -> EndpointDetails:
    """Send it nothing more; its partner can't enable it. What waits is cancelled."""
    with admin.changing(request.user, environment) as change:
        disable_endpoint(change, environment, endpoint_id)
    return _details(admin, environment, endpoint_id)


@post(f"{ONE}/enable", status_code=200, sync_to_thread=True, tags=["endpoints"])
def start_endpoint(
    admin: Admin, request: OperatorRequest, environment: Environment, endpoint_id: UUID
) -> EndpointDetails:
    """Send it what happens from now on. What it missed comes with a replay."""
    with admin.changing(request.user, environment) as change:
        enable_endpoint(change, environment, endpoint_id)
    return _details(admin, environment, endpoint_id)


@post(f"{ONE}/replay", status_code=202, sync_to_thread=True, tags=["endpoints"])
def replay(
    admin: Admin,
    request: OperatorRequest,
    environment: Environment,
    endpoint_id: UUID,
    data: WantedReplay,
) -> Replayed:
    """Send what did not arrive since a time; go on at `next_since` until that is null."""
    with admin.changing(request.user, environment) as change:
        return replay_endpoint(
            change,
            environment,
            endpoint_id,
            data.since,
            include_delivered=data.include_delivered,
        )


def _details(admin: Admin, environment: Environment, endpoint_id: UUID) -> EndpointDetails:
    """Count after a change: counting millions within it would hold the relay up."""
    with admin.reading(environment) as connection:
        return read_endpoint(connection, environment, endpoint_id)


ENDPOINTS = (list_all_endpoints, show_endpoint, stop_endpoint, start_endpoint, replay)
