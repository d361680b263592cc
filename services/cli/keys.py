"""Keys on the command line; a key is shown once, alone on standard output."""

import re
from datetime import datetime, timedelta

import click

from services.admin.keys.changes import OVERLAP_MOST
from services.admin.keys.rows import ChangedKey, Key, KeyState, MadeKey, RotatedKey
from services.cli import outcome
from services.cli.audit import TIME, in_utc
from services.cli.common import (
    FindEnvironment,
    admin,
    confirm,
    environment_option,
    json_option,
    limit_option,
    show_json,
    show_listing,
    shown,
    yes_option,
)
from services.core.environments import Environment
from services.domain.key_form import SHOWN_LENGTH, fingerprint

HEADINGS = [
    "KEY", "PARTNER", "ENV", "STATE", "CREATED", "EXPIRES", "LAST USED", "ID", "REPLACED BY",
]  # fmt: skip
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


class Span(click.ParamType[timedelta]):
    """How long two keys overlap: 0, 30m, 24h or 7d."""

    name = "span"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Return the length; click shows the message of what is none."""
        match = re.fullmatch(r"(\d{1,6})([mhd])|0", str(value))
        if match is None:
            self.fail(f"{value} is not like 0, 30m, 24h or 7d", param, ctx)
        span = timedelta() if match[1] is None else int(match[1]) * UNITS[match[2]]
        if span > OVERLAP_MOST:
            self.fail(f"{value} is more than {OVERLAP_MOST.days}d", param, ctx)
        return span


class KeyName(click.ParamType[str]):
    """A key's id, its first 12 characters, or the key itself, of which the fingerprint is sent."""

    name = "key"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,  # noqa: ARG002 -- click's signature
        ctx: click.Context | None,  # noqa: ARG002
    ) -> str:
        """Return the name: a key in full is in no address, as addresses are logged."""
        name = str(value)
        is_key = name.startswith(tuple(each.key_prefix for each in Environment))
        return fingerprint(name) if is_key and len(name) > SHOWN_LENGTH else name


key_argument = click.argument("key", type=KeyName())
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
@json_option
@click.pass_obj
def create(
    find_environment: FindEnvironment,
    partner: str,
    environment: str,
    *,
    expires: datetime | None,
    as_json: bool,
) -> None:
    """Make a key for PARTNER, and show it once when the gateway has it.

    Standard output is the key alone, for scripts; the rest goes to standard error.
    """
    body = {"environment": environment, "expires_at": in_utc(expires)}
    with admin(find_environment) as client:
        made = client.post(MadeKey, "partners", partner, "keys", body=body)
    _show_made(made, as_json=as_json)
    outcome.end(made.gateway, as_json=as_json)


@keys.command("list")
@click.option("--partner", help="Of this partner.")
@click.option("--env", "environment", type=click.Choice([str(each) for each in Environment]))
@click.option("--state", type=click.Choice([str(state) for state in KeyState]))
@click.option("--prefix", help="The first characters of a key, 12 at most.")
@limit_option
@json_option
@click.pass_obj
def list_all(
    find_environment: FindEnvironment, *, limit: int, as_json: bool, **search: str | None
) -> None:
    """List keys, newest first."""
    _require_short(search["prefix"])
    with admin(find_environment) as client:
        found = client.listing(Key, "keys", limit=limit, **search)
    show_listing(found, HEADINGS, _row, as_json=as_json)


def _require_short(prefix: str | None) -> None:
    """Raise UsageError for what may be a whole key: addresses are logged."""
    if prefix is not None and len(prefix) > SHOWN_LENGTH:
        msg = f"--prefix: at most the first {SHOWN_LENGTH} characters of a key, never all of it"
        raise click.UsageError(msg)


@keys.command("show")
@key_argument
@json_option
@click.pass_obj
def show(find_environment: FindEnvironment, key: str, *, as_json: bool) -> None:
    """Show one key, as far as it may be shown."""
    with admin(find_environment) as client:
        found = client.get(Key, "keys", key)
    if as_json:
        show_json(found)
        return
    for heading, value in zip(
        [*HEADINGS, "REVOKED"], [*_row(found), found.revoked_at], strict=True
    ):
        click.echo(f"{heading.lower():<11} {shown(value)}")


@keys.command("rotate")
@key_argument
@click.option(
    "--overlap",
    type=Span(),
    default="24h",
    show_default=True,
    help="How long both keys keep working (at most 30d).",
)
@expires_option
@json_option
@click.pass_obj
def rotate(
    find_environment: FindEnvironment,
    key: str,
    *,
    overlap: timedelta,
    expires: datetime | None,
    as_json: bool,
) -> None:
    """Make a key in the place of KEY, which goes on working for the overlap.

    Standard output is the new key alone, for scripts. --expires is the new key's.
    """
    body = {"overlap_seconds": int(overlap.total_seconds()), "expires_at": in_utc(expires)}
    with admin(find_environment) as client:
        made = client.post(RotatedKey, "keys", key, "rotate", body=body)
    _show_made(made, as_json=as_json)
    if not as_json:
        replaced = made.replaced
        click.echo(f"{replaced.shown}... works until {shown(replaced.expires_at)}", err=True)
    outcome.end(made.gateway, as_json=as_json)


@keys.command("expire")
@key_argument
@click.option("--at", type=TIME, help="In UTC: 2026-11-22 or 2026-11-22T09:14:03Z.")
@click.option("--never", is_flag=True, help="Without end.")
@json_option
@click.pass_obj
def expire(
    find_environment: FindEnvironment,
    key: str,
    *,
    at: datetime | None,
    never: bool,
    as_json: bool,
) -> None:
    """Have KEY work until a time to come, or (--never) without end."""
    if (at is None) != never:
        msg = "say one of --at and --never"
        raise click.UsageError(msg)
    with admin(find_environment) as client:
        changed = client.call("PATCH", ChangedKey, "keys", key, body={"expires_at": in_utc(at)})
    found = changed.key
    ends = "without end" if found.expires_at is None else f"until {shown(found.expires_at)}"
    _finish(changed, f"{_owner(found)} works {ends}", as_json=as_json)


@keys.command("revoke")
@key_argument
@yes_option
@json_option
@click.pass_obj
def revoke(find_environment: FindEnvironment, key: str, *, yes: bool, as_json: bool) -> None:
    """End KEY for good."""
    with admin(find_environment) as client:
        found = client.get(Key, "keys", key)
        confirm(f"Revoke {_owner(found)}?", yes=yes)
        changed = client.post(ChangedKey, "keys", found.id, "revoke")
    _finish(changed, f"revoked {_owner(found)}", as_json=as_json)


def _owner(key: Key) -> str:
    return f"{key.shown}... of {key.partner} ({key.environment})"


def _show_made(made: MadeKey, *, as_json: bool) -> None:
    if as_json:
        show_json(made)
        return
    owner = f"{made.key.environment} key of {made.key.partner}"
    click.echo(f"{owner}, shown this once (id {made.key.id}):", err=True)
    click.echo(made.secret)


def _finish(changed: ChangedKey, sentence: str, *, as_json: bool) -> None:
    """Print what was changed, and what the gateway runs."""
    if as_json:
        show_json(changed)
    else:
        click.echo(sentence)
    outcome.end(changed.gateway, as_json=as_json)


def _row(key: Key) -> tuple[object, ...]:
    return (
        key.shown, key.partner, key.environment, key.state, key.created_at, key.expires_at,
        key.last_used_at, key.id, key.replaced_by,
    )  # fmt: skip
