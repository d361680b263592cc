"""Deliveries on the command line: searched over all partners, and sent again.

A delivery is named by its endpoint and its event.
"""

import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import click

from services.admin.deliveries.redelivery import RETRIED_MOST, Retried
from services.admin.deliveries.rows import Attempt, Delivery, DeliveryDetails, DeliveryState
from services.cli.audit import TIME, in_utc
from services.cli.client import AdminError, Client
from services.cli.common import (
    IN_PART,
    FindEnvironment,
    admin,
    confirm,
    environment_option,
    json_option,
    limit_option,
    show_json,
    show_listing,
    show_table,
    shown,
    yes_option,
)
from services.cli.progress import ProgressLine, note
from services.core.wording import counted
from services.domain.events import EventType
from services.domain.redelivery import Replayed

FINISHED = (DeliveryState.EXHAUSTED, DeliveryState.CANCELLED, DeliveryState.DELIVERED)
FOUND_MOST = 1_000_000  # deliveries that one command sends again

C = TypeVar("C", bound=Callable[..., object])


def _search_options(command: C) -> C:
    """Give a command what deliveries are searched by, but for their state."""
    options = (
        click.option("--partner", help="The name of a partner."),
        click.option("--endpoint", type=click.UUID, help="The id of an endpoint."),
        click.option("--event-type", type=click.Choice([str(each) for each in EventType])),
        click.option("--product", "product_id", help="A product id."),
        click.option("--since", type=TIME, help="When it happened: 2026-11-22T09:14:03Z."),
        click.option("--until", type=TIME, help="Likewise; events before that time."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _parameters(search: dict[str, Any], state: str | None) -> dict[str, object]:
    """Return what the search of deliveries takes over HTTP."""
    times = {name: in_utc(search[name]) for name in ("since", "until")}
    return {**search, **times, "state": state}


@click.group()
def deliveries() -> None:
    """Deliveries: what was sent to whom, and how it went."""


@deliveries.command("list")
@environment_option
@click.option("--state", type=click.Choice([str(state) for state in DeliveryState]))
@_search_options
@limit_option
@json_option
@click.pass_obj
def list_all(
    find_environment: FindEnvironment,
    *,
    environment: str,
    state: str | None,
    limit: int,
    as_json: bool,
    **search: Any,  # noqa: ANN401 -- of _search_options
) -> None:
    """List deliveries, newest event first."""
    with admin(find_environment) as client:
        found = client.listing(
            Delivery, environment, "deliveries", limit=limit, **_parameters(search, state)
        )
    headings = ["ENDPOINT", "EVENT", "PARTNER", "TYPE", "PRODUCT", "HAPPENED", "STATE", "LAST"]
    show_listing(found, headings, _row, as_json=as_json)


@deliveries.command("show")
@click.argument("endpoint_id", type=click.UUID)
@click.argument("event_id", type=click.UUID)
@environment_option
@json_option
@click.pass_obj
def show(
    find_environment: FindEnvironment,
    endpoint_id: UUID,
    event_id: UUID,
    environment: str,
    *,
    as_json: bool,
) -> None:
    """Show the delivery of EVENT_ID to ENDPOINT_ID, with its attempts."""
    with admin(find_environment) as client:
        found = client.get(DeliveryDetails, environment, "deliveries", endpoint_id, event_id)
    _show(found, as_json=as_json)


@deliveries.command("retry")
@click.argument("endpoint_id", type=click.UUID, required=False)
@click.argument("event_id", type=click.UUID, required=False)
@environment_option
@click.option(
    "--state",
    type=click.Choice([str(state) for state in FINISHED]),
    help="State of the deliveries of a search.  [default: exhausted]",
)
@_search_options
@yes_option
@json_option
@click.pass_obj
def retry(
    find_environment: FindEnvironment,
    endpoint_id: UUID | None,
    event_id: UUID | None,
    *,
    environment: str,
    state: str | None,
    yes: bool,
    as_json: bool,
    **search: Any,  # noqa: ANN401 -- of _search_options
) -> None:
    """Send EVENT_ID to ENDPOINT_ID again; or, by options, all that a search finds.

    What is sent again gets a new series of attempts. Exit code 3: not all could be.
    """
    by_search = state is not None or any(value is not None for value in search.values())
    if (endpoint_id is None) != by_search or (endpoint_id is None) != (event_id is None):
        msg = "name one delivery by ENDPOINT_ID and EVENT_ID, or several by options"
        raise click.UsageError(msg)
    with admin(find_environment) as client:
        if not by_search:
            path = (environment, "deliveries", endpoint_id, event_id, "retry")
            _show(client.post(DeliveryDetails, *path), as_json=as_json)
            return
        parameters = _parameters(search, state or DeliveryState.EXHAUSTED)
        retried = _retry_found(client, environment, parameters, yes=yes)
    _show_retried(retried, as_json=as_json)


def _retry_found(
    client: Client, environment: str, parameters: dict[str, object], *, yes: bool
) -> Retried:
    """Send all that a search finds again, oldest first, after a question."""
    found = client.listing(Delivery, environment, "deliveries", limit=FOUND_MOST, **parameters)
    keys = [{"endpoint_id": d.endpoint_id, "event_id": d.event_id} for d in reversed(found.items)]
    if found.next_cursor is not None:
        msg = f"more than {FOUND_MOST:,}: narrow the search by --since, --until"
        raise click.UsageError(msg)
    if not keys:
        return Retried(0, 0)
    number = len({each["endpoint_id"] for each in keys})
    sent = counted(len(keys), "delivery", "deliveries")
    confirm(f"Send {sent} to {counted(number, 'endpoint')} again?", yes=yes)
    progress, retried, done = ProgressLine("deliveries"), 0, 0
    for begin in range(0, len(keys), RETRIED_MOST):
        batch = keys[begin : begin + RETRIED_MOST]
        path = (environment, "deliveries", "retry")
        try:
            retried += client.post(Retried, *path, body={"deliveries": batch}).retried
        except AdminError as exc:
            progress.end()
            again = counted(retried, "delivery is", "deliveries are")
            msg = f"{exc.message}; {again} sent again already: repeat the command for the rest"
            raise type(exc)(exc.code, msg, exc.request_id) from exc
        done += len(batch)
        progress(done, len(keys))
    return Retried(retried, done - retried)


def _show_retried(found: Retried, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
    else:
        click.echo(f"{counted(found.retried, 'delivery is', 'deliveries are')} sent again")
    if found.left:
        click.echo(
            f"{found.left:,} can't be: their endpoint is disabled, or their partner, or they are"
            " under way",
            err=True,
        )
        sys.exit(IN_PART)


@deliveries.command("replay")
@click.argument("endpoint_id", type=click.UUID)
@environment_option
@click.option("--since", type=TIME, required=True, help="In UTC: 2026-11-22T09:14:03Z.")
@click.option("--include-delivered", is_flag=True, help="Send what did arrive again, too.")
@json_option
@click.pass_obj
def replay(
    find_environment: FindEnvironment,
    endpoint_id: UUID,
    environment: str,
    *,
    since: datetime,
    include_delivered: bool,
    as_json: bool,
) -> None:
    """Send ENDPOINT_ID all that happened since a time and did not arrive."""
    scheduled, at = 0, in_utc(since)
    path = (environment, "endpoints", endpoint_id, "replay")
    with admin(find_environment) as client:
        while at is not None:
            body = {"since": at, "include_delivered": include_delivered}
            replayed = client.post(Replayed, *path, body=body)
            scheduled, at = scheduled + replayed.scheduled, replayed.next_since
            if at is not None:
                note(f"{counted(scheduled, 'event')}, up to {shown(at)}", done=scheduled, up_to=at)
    if as_json:
        show_json(Replayed(scheduled, None))
    else:
        click.echo(f"{counted(scheduled, 'event is', 'events are')} sent")


def _show(found: DeliveryDetails, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    rows = [
        ("endpoint", found.endpoint_id),
        ("url", f"{found.url} ({found.endpoint_state})"),
        ("partner", found.partner),
        ("event", found.event_id),
        ("type", found.event_type),
        ("product", found.product_id),
        ("version", found.version),
        ("happened", found.occurred_at),
        ("state", found.state),
        ("series", found.series),
        ("attempts", found.attempt_count),
        ("next attempt", found.next_attempt_at),
        ("finished", found.finished_at),
    ]
    show_table(["FIELD", "VALUE"], rows)
    if found.attempts:
        click.echo()
        headings = ["SERIES", "NUMBER", "STARTED", "MS", "OUTCOME", "STATUS", "DETAIL"]
        show_table(headings, [_attempt_row(each) for each in found.attempts])


def _attempt_row(each: Attempt) -> tuple[object, ...]:
    called = (each.series, each.number, each.started_at, each.duration_ms)
    return (*called, each.outcome, each.status, each.detail)


def _row(found: Delivery) -> tuple[object, ...]:
    return (
        found.endpoint_id,
        found.event_id,
        found.partner,
        found.event_type,
        found.product_id,
        found.occurred_at,
        found.state,
        _last(found.last_attempt),
    )


def _last(attempt: Attempt | None) -> str | None:
    if attempt is None:
        return None
    return f"{attempt.outcome} {attempt.status}" if attempt.status else attempt.outcome
