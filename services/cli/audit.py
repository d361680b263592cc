"""The audit log on the command line: who changed what, and when."""

from datetime import UTC, datetime

import click
import msgspec

from services.admin.audit.rows import AuditEntry
from services.cli.common import FindEnvironment, admin, json_option, limit_option, show_listing

TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ"])
HEADINGS = ["AT", "ACTOR", "OS USER (UNVERIFIED)", "ACTION", "TARGET", "CHANGE"]


@click.group()
def audit() -> None:
    """The audit log: who changed what, and when. Nobody can change it."""


@audit.command("list")
@click.option("--actor", help="`token:NAME`, or `cli` for commands that use the database.")
@click.option("--action", help="Such as key.revoked, or key for all of keys.")
@click.option("--target", help="Such as partner:techmart, or partner for all of them.")
@click.option("--since", type=TIME, help="In UTC: 2026-11-22 or 2026-11-22T09:14:03Z.")
@click.option("--until", type=TIME, help="Likewise; changes before that time.")
@limit_option
@json_option
@click.pass_obj
def list_all(
    find_environment: FindEnvironment,
    *,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
    **search: str | None,
) -> None:
    """List changes, newest first."""
    with admin(find_environment) as client:
        found = client.listing(
            AuditEntry, "audit", limit=limit, since=in_utc(since), until=in_utc(until), **search
        )
    show_listing(found, HEADINGS, _row, as_json=as_json)


def in_utc(given: datetime | None) -> datetime | None:
    """Return a time that was typed, which is in UTC."""
    return None if given is None else given.replace(tzinfo=UTC)


def _row(entry: AuditEntry) -> tuple[object, ...]:
    return (entry.at, entry.actor, entry.os_user, entry.action, entry.target, _change(entry))


def _change(entry: AuditEntry) -> str:
    before, after = (
        "" if side is None else msgspec.json.encode(side).decode()
        for side in (entry.before, entry.after)
    )
    return f"{before} -> {after}" if before and after else after or before
