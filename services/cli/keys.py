"""Keys on the command line; a key is shown once, alone on standard output."""

import re
from datetime import datetime, timedelta

import click

from services.admin.after_change import ChangedKey, MadeKey, RotatedKey
from services.admin.audit.system_user import this_actor
from services.admin.changes import Admin
from services.admin.keys.changes import create_key, revoke_key, rotate_key, set_expiry
from services.admin.keys.rows import Key, KeyFilter, KeyState, NewKey, find_key, list_keys
from services.admin.pages import Page
from services.cli import outcome
from services.cli.audit import TIME, in_utc
from services.cli.common import (
    FindEnvironment,
    admin,
    confirm,
    environment_option,
    json_option,
    limit_option,
    publish_option,
    show_json,
    show_listing,
    shown,
    yes_option,
)
from services.core.environments import Environment

HEADINGS = [
    "KEY", "PARTNER", "ENV", "STATE", "CREATED", "EXPIRES", "LAST USED", "ID", "REPLACED BY",
]  # fmt: skip
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


class Span(click.ParamType[timedelta]):
    """A length of time: 0, 30m, 24h or 7d."""

    name = "span"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Return the length; click shows the message of what is none."""
        match = re.fullmatch(r"(\d{1,6})([mhd])|0", str(value))
        if match is None:
            self.fail(f"{value} is not like 0, 30m, 24h or 7d", param, ctx)
        return timedelta() if match[1] is None else int(match[1]) * UNITS[match[2]]


expires_option = click.option(
    "--expires", type=TIME, help="In UTC: 2026-11-22 or 2026-11-22T09:14:03Z. Default: never."
)


@click.group()
def keys() -> None:
    """Keys: made, rotated, given an end, revoked. A key is shown once.

    KEY is a key's id or its first 12 characters.
    """


@keys.command("create")
@click.argument("partner")
@environment_option
@expires_option
@publish_option
@json_option
@click.pass_obj
def create(
    find_environment: FindEnvironment,
    partner: str,
    environment: str,
    *,
    expires: datetime | None,
    publish: bool,
    as_json: bool,
) -> None:
    """Make a key for PARTNER, show it once, and send it to the gateway.

    Standard output is the key alone, for scripts; the rest goes to standard error.
    """
    with admin(find_environment) as opened:
        with opened.changing(this_actor()) as change:
            made = create_key(change, partner, Environment(environment), in_utc(expires))
        if not as_json:
            _show_secret(made)
        reports = outcome.publish(opened, wanted=publish)
        if as_json:
            show_json(MadeKey(made.key, made.secret, reports))
        outcome.end(reports)


@keys.command("list")
@click.option("--partner", help="Of this partner.")
@click.option("--env", "environment", type=click.Choice([str(each) for each in Environment]))
@click.option("--state", type=click.Choice([str(state) for state in KeyState]))
@click.option("--prefix", help="The first characters of a key, 12 at most.")
@limit_option
@json_option
@click.pass_obj
def list_all(
    find_environment: FindEnvironment,
    *,
    partner: str | None,
    environment: str | None,
    state: str | None,
    prefix: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List keys, newest first."""
    wanted = KeyFilter(
        partner=partner,
        environment=Environment(environment) if environment else None,
        state=KeyState(state) if state else None,
        prefix=prefix,
    )
    with admin(find_environment) as opened, opened.reading() as connection:
        found = list_keys(connection, wanted, Page(limit))
    show_listing(found, HEADINGS, _row, as_json=as_json)


@keys.command("show")
@click.argument("key")
@json_option
@click.pass_obj
def show(find_environment: FindEnvironment, key: str, *, as_json: bool) -> None:
    """Show one key, as far as it may be shown."""
    with admin(find_environment) as opened, opened.reading() as connection:
        found = find_key(connection, key)
    if as_json:
        show_json(found)
        return
    for heading, value in zip(
        [*HEADINGS, "REVOKED"], [*_row(found), found.revoked_at], strict=True
    ):
        click.echo(f"{heading.lower():<11} {shown(value)}")


@keys.command("rotate")
@click.argument("key")
@click.option(
    "--overlap", type=Span(), default="24h", show_default=True, help="That both work; 30d at most."
)
@expires_option
@publish_option
@json_option
@click.pass_obj
def rotate(
    find_environment: FindEnvironment,
    key: str,
    *,
    overlap: timedelta,
    expires: datetime | None,
    publish: bool,
    as_json: bool,
) -> None:
    """Make a key in the place of KEY, which goes on working for the overlap.

    Standard output is the new key alone, for scripts. --expires is the new key's.
    """
    with admin(find_environment) as opened:
        with opened.changing(this_actor()) as change:
            made, replaced = rotate_key(change, key, overlap=overlap, expires_at=in_utc(expires))
        if not as_json:
            _show_secret(made)
            click.echo(f"{replaced.shown}... works until {shown(replaced.expires_at)}", err=True)
        reports = outcome.publish(opened, wanted=publish)
        if as_json:
            show_json(RotatedKey(made.key, made.secret, reports, replaced=replaced))
        outcome.end(reports)


@keys.command("expire")
@click.argument("key")
@click.option("--at", type=TIME, help="In UTC: 2026-11-22 or 2026-11-22T09:14:03Z.")
@click.option("--never", is_flag=True, help="Without end.")
@publish_option
@json_option
@click.pass_obj
def expire(
    find_environment: FindEnvironment,
    key: str,
    *,
    at: datetime | None,
    never: bool,
    publish: bool,
    as_json: bool,
) -> None:
    """Have KEY work until a time to come, or (--never) without end."""
    if (at is None) != never:
        msg = "say one of --at and --never"
        raise click.UsageError(msg)
    with admin(find_environment) as opened:
        with opened.changing(this_actor()) as change:
            changed = set_expiry(change, key, in_utc(at))
        ends = "without end" if changed.expires_at is None else f"until {shown(changed.expires_at)}"
        told = f"{changed.shown}... of {changed.partner} ({changed.environment}) works {ends}"
        _finish(opened, changed, told, publish=publish, as_json=as_json)


@keys.command("revoke")
@click.argument("key")
@yes_option
@publish_option
@json_option
@click.pass_obj
def revoke(
    find_environment: FindEnvironment, key: str, *, yes: bool, publish: bool, as_json: bool
) -> None:
    """End KEY for good."""
    with admin(find_environment) as opened:
        with opened.reading() as connection:
            found = find_key(connection, key)
        owner = f"{found.shown}... of {found.partner} ({found.environment})"
        confirm(f"Revoke {owner}?", yes=yes)
        with opened.changing(this_actor()) as change:
            revoked = revoke_key(change, str(found.id))
        _finish(opened, revoked, f"revoked {owner}", publish=publish, as_json=as_json)


def _show_secret(made: NewKey) -> None:
    """Show a key before it is published: whatever comes then, it was seen."""
    owner = f"{made.key.environment} key of {made.key.partner}"
    click.echo(f"{owner}, shown this once (id {made.id}):", err=True)
    click.echo(made.secret)


def _finish(opened: Admin, key: Key, told: str, *, publish: bool, as_json: bool) -> None:
    """Tell of a change that is committed, and have the gateway run it."""
    if not as_json:
        click.echo(told)
    reports = outcome.publish(opened, wanted=publish)
    if as_json:
        show_json(ChangedKey(key, reports))
    outcome.end(reports)


def _row(key: Key) -> tuple[object, ...]:
    return (
        key.shown, key.partner, key.environment, key.state, key.created_at, key.expires_at,
        key.last_used_at, key.id, key.replaced_by,
    )  # fmt: skip
