"""Deliveries on the command line: searched over all partners, and sent again.

A delivery is named by its endpoint and its event.
"""

import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import click

from services.admin.audit.system_user import this_actor
from services.admin.changes import Admin
from services.admin.deliveries.redelivery import (
    find_retriable,
    replay_endpoint,
    retry_delivery,
    retry_many,
)
from services.admin.deliveries.rows import (
    Attempt,
    Delivery,
    DeliveryDetails,
    DeliveryFilter,
    DeliveryState,
    Key,
    list_deliveries,
    read_delivery,
)
from services.admin.pages import Page
from services.cli.audit import TIME, in_utc
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
from services.cli.progress import ProgressLine
from services.core.environments import Environment
from services.core.wording import counted
from services.domain.events import EventType

FINISHED = (DeliveryState.EXHAUSTED, DeliveryState.CANCELLED, DeliveryState.DELIVERED)
RETRY_BATCH = 500  # deliveries of a transaction, 0.2 s; they are locked till its end

C = TypeVar("C", bound=Callable[..., object])


def _search_options(command: C) -> C:
    """Give a command what deliveries are searched by, but for their state."""
    options = (
        click.option("--partner", help="The name of a partner."),
        click.option("--endpoint", type=click.UUID, help="The id of an endpoint."),
        click.option("--event-type", type=click.Choice([str(each) for each in EventType])),
        click.option("--product", "product_id", help="A product id."),
        click.option("--since", type=TIME, help="When it happened: 2026-11-22T09:14:03Z."),
        click.option("--until", type=TIME, help="Likewise; up to it, not with it."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _filter(search: dict[str, Any], state: str | None) -> DeliveryFilter:
    return DeliveryFilter(
        partner=search["partner"],
        endpoint=search["endpoint"],
        state=DeliveryState(state) if state else None,
        event_type=EventType(search["event_type"]) if search["event_type"] else None,
        product_id=search["product_id"],
        since=in_utc(search["since"]),
        until=in_utc(search["until"]),
    )


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
    wanted = _filter(search, state)
    with admin(find_environment) as opened, opened.reading(Environment(environment)) as connection:
        found = list_deliveries(connection, Environment(environment), wanted, Page(limit))
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
    key = Key(event_id, endpoint_id)
    with admin(find_environment) as opened, opened.reading(Environment(environment)) as connection:
        _show(read_delivery(connection, Environment(environment), key), as_json=as_json)


@deliveries.command("retry")
@click.argument("endpoint_id", type=click.UUID, required=False)
@click.argument("event_id", type=click.UUID, required=False)
@environment_option
@click.option(
    "--state",
    type=click.Choice([str(state) for state in FINISHED]),
    help="Of a search; exhausted unless you say otherwise.",
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
    where = Environment(environment)
    with admin(find_environment) as opened:
        if endpoint_id is not None and event_id is not None:
            _retry_one(opened, where, Key(event_id, endpoint_id), as_json=as_json)
        else:
            wanted = _filter(search, state or DeliveryState.EXHAUSTED)
            _retry_found(opened, where, wanted, yes=yes, as_json=as_json)


def _retry_one(opened: Admin, environment: Environment, key: Key, *, as_json: bool) -> None:
    with opened.changing(this_actor(), environment) as change:
        retry_delivery(change, environment, key)
        found = read_delivery(change.connection, environment, key)
    _show(found, as_json=as_json)


def _retry_found(
    opened: Admin, environment: Environment, wanted: DeliveryFilter, *, yes: bool, as_json: bool
) -> None:
    with opened.reading(environment) as connection:
        keys, left = find_retriable(connection, environment, wanted)
    if left:
        click.echo(f"{left:,} can't be: their endpoint is disabled, or their partner", err=True)
    done = 0
    if keys:
        number = len({key.endpoint_id for key in keys})
        sent = counted(len(keys), "delivery", "deliveries")
        confirm(f"Send {sent} to {counted(number, 'endpoint')} again?", yes=yes)
        done = _retry_all(opened, environment, keys)
    if as_json:
        show_json({"retried": done, "left": left + len(keys) - done})
    else:
        click.echo(f"{counted(done, 'delivery is', 'deliveries are')} sent again")
    if left or done < len(keys):
        sys.exit(IN_PART)


def _retry_all(opened: Admin, environment: Environment, keys: list[Key]) -> int:
    progress, done = ProgressLine("deliveries"), 0
    for begin in range(0, len(keys), RETRY_BATCH):
        with opened.changing(this_actor(), environment) as change:
            done += retry_many(change, environment, keys[begin : begin + RETRY_BATCH])
        progress(min(begin + RETRY_BATCH, len(keys)), len(keys))
    return done


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
    with admin(find_environment) as opened:
        while at is not None:
            with opened.changing(this_actor(), Environment(environment)) as change:
                replayed = replay_endpoint(
                    change,
                    Environment(environment),
                    endpoint_id,
                    at,
                    include_delivered=include_delivered,
                )
            scheduled, at = scheduled + replayed.scheduled, replayed.next_since
            if at is not None:
                click.echo(f"{counted(scheduled, 'event')}, up to {shown(at)}", err=True)
    if as_json:
        show_json({"scheduled": scheduled, "next_since": None})
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
