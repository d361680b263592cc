"""Endpoints on the command line: the webhook subscriptions of any partner."""

from uuid import UUID

import click

from services.admin.endpoints.rows import Endpoint, EndpointDetails, EndpointState
from services.cli.common import (
    FindEnvironment,
    admin,
    environment_option,
    json_option,
    limit_option,
    show_json,
    show_listing,
    show_table,
)

HEADINGS = ["ENDPOINT", "PARTNER", "STATE", "REASON", "FAILING SINCE", "CREATED", "URL"]


@click.group()
def endpoints() -> None:
    """Endpoints: where partners' webhooks go."""


@endpoints.command("list")
@environment_option
@click.option("--partner", help="The name of a partner.")
@click.option(
    "--state",
    type=click.Choice([str(state) for state in EndpointState]),
    help="Deleted ones are listed only when asked for.",
)
@click.option("--failing/--not-failing", default=None, help="Whether the last attempt failed.")
@click.option("--url", help="A part of the url.")
@limit_option
@json_option
@click.pass_obj
def list_all(
    find_environment: FindEnvironment,
    *,
    environment: str,
    limit: int,
    as_json: bool,
    **search: object,
) -> None:
    """List endpoints, newest first."""
    with admin(find_environment) as client:
        found = client.listing(Endpoint, environment, "endpoints", limit=limit, **search)
    show_listing(found, HEADINGS, _row, as_json=as_json)


@endpoints.command("show")
@click.argument("endpoint_id", type=click.UUID)
@environment_option
@json_option
@click.pass_obj
def show(
    find_environment: FindEnvironment, endpoint_id: UUID, environment: str, *, as_json: bool
) -> None:
    """Show the endpoint ENDPOINT_ID, with what it was sent in the last 7 days."""
    with admin(find_environment) as client:
        found = client.get(EndpointDetails, environment, "endpoints", endpoint_id)
    _show(found, as_json=as_json)


@endpoints.command("disable")
@click.argument("endpoint_id", type=click.UUID)
@environment_option
@json_option
@click.pass_obj
def disable(
    find_environment: FindEnvironment, endpoint_id: UUID, environment: str, *, as_json: bool
) -> None:
    """Send ENDPOINT_ID nothing more; its partner can't enable it. What waits is cancelled."""
    path = (environment, "endpoints", endpoint_id, "disable")
    with admin(find_environment) as client:
        _show(client.post(EndpointDetails, *path), as_json=as_json)


@endpoints.command("enable")
@click.argument("endpoint_id", type=click.UUID)
@environment_option
@json_option
@click.pass_obj
def enable(
    find_environment: FindEnvironment, endpoint_id: UUID, environment: str, *, as_json: bool
) -> None:
    """Send ENDPOINT_ID what happens from now on, also if its partner disabled it."""
    path = (environment, "endpoints", endpoint_id, "enable")
    with admin(find_environment) as client:
        _show(client.post(EndpointDetails, *path), as_json=as_json)
    click.echo("what it missed is sent by `partnerapi deliveries replay`", err=True)


def _show(found: EndpointDetails, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    counts = [f"{number:,} {state}" for state, number in found.deliveries.items()]
    rows = [
        ("endpoint", found.id),
        ("partner", f"{found.partner} ({found.partner_state})"),
        ("url", found.url),
        ("events", ", ".join(found.events)),
        ("state", found.state),
        ("disabled reason", found.disabled_reason),
        ("failing since", found.failing_since),
        ("incident since", found.incident_since),
        ("slow until", found.slow_until),
        ("created", found.created_at),
        ("deliveries", ", ".join(counts)),
        ("last delivered", found.last_delivered_at),
    ]
    show_table(["FIELD", "VALUE"], rows)


def _row(found: Endpoint) -> tuple[object, ...]:
    return (
        found.id,
        found.partner,
        found.state,
        found.disabled_reason,
        found.failing_since,
        found.created_at,
        found.url,
    )
