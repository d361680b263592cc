"""Database on the command line: `partnerapi database migrate`, before a release's services start.

It needs no service and no local stack: the production image runs it once (compose.yaml).
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import click
import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

from services.core.settings import SettingsError, load_settings
from services.core.wording import counted
from services.schema.migrate import migrate as bring_to_this_release
from services.schema.migrate import set_role_password
from services.schema.settings import MigrateSettings

CONNECT_SECONDS = 5
NOT_DONE, WRONG_USAGE, DATABASE_AWAY = 1, 2, 4  # as the other commands' exit codes


@dataclass(frozen=True)
class Migrated:
    """What a run did."""

    migrations: int
    roles: tuple[str, ...]


@click.group()
def database() -> None:
    """The database of every service: its schema and its roles."""


@database.command("migrate")
def migrate() -> None:
    """Bring the database to this release, and give each role the password of its address.

    Again is harmless, and while services of the release before run, too. The addresses are
    settings: OWNER_DATABASE_URL and, for each role, such as LIVE_QUERY_DATABASE_URL; with _FILE
    at its end a variable names a file that holds it.
    """
    try:
        done = run(os.environ)
    except SettingsError as exc:
        _fail(str(exc), WRONG_USAGE)
    except psycopg.OperationalError as exc:
        _fail(f"PostgreSQL: {_first_line(exc)}", DATABASE_AWAY)
    except psycopg.Error as exc:
        _fail(f"not migrated: {_first_line(exc)}", NOT_DONE)
    applied = f"{counted(done.migrations, 'migration')} applied"
    told = applied if done.migrations else "schema up to date"
    click.echo(f"{told}; passwords set for {', '.join(done.roles)}")


def run(environment: Mapping[str, str]) -> Migrated:
    """Migrate as the settings say. Raises SettingsError and psycopg's errors."""
    settings = load_settings(MigrateSettings, environment)
    passwords = role_passwords(settings)
    owner = settings.owner_database_url
    psycopg.connect(owner, connect_timeout=CONNECT_SECONDS).close()
    applied = bring_to_this_release(owner)
    for role, password in passwords.items():
        set_role_password(owner, role, password)
    return Migrated(applied, tuple(passwords))


def role_passwords(settings: MigrateSettings) -> dict[str, str]:
    """Return each role's password out of its address. Raises SettingsError, without values."""
    found: dict[str, str] = {}
    faults: list[str] = []
    for field, url in msgspec.structs.asdict(settings).items():
        role = field.removesuffix("_database_url")
        if role == "owner":
            continue
        try:
            parts = conninfo_to_dict(url)
        except psycopg.ProgrammingError:  # its words would hold parts of the address
            faults.append(f"{field.upper()}: not an address that PostgreSQL understands")
            continue
        if parts.get("user") != role:
            faults.append(f"{field.upper()}: must be an address of the role {role}")
        elif not parts.get("password"):
            faults.append(f"{field.upper()}: has no password")
        found[role] = str(parts.get("password"))
    if faults:
        raise SettingsError("\n".join(["the environment does not fit:", *faults]))
    return found


def _first_line(exc: psycopg.Error) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0]


def _fail(message: str, code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)
