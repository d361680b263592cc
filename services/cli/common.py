"""Common: what the groups of commands share; settings, exit codes, tables, questions.

Exit codes: 0 done; 1 not done; 2 wrong usage; 3 done in PostgreSQL but only in part elsewhere (a
node does not run it yet, an import had lines that were refused); 4 PostgreSQL can't be reached.
"""

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NoReturn

import click
import msgspec
import psycopg

from services.admin.changes import Admin
from services.admin.gateway.publisher import Published
from services.admin.pages import LIMIT, Listing
from services.admin.refusals import RefusedError
from services.admin.settings import AdminSettings
from services.core.encryption import MasterKeyError, SecretBox
from services.core.environments import Environment
from services.core.external_text import ExternalTextError
from services.core.settings import SettingsError, load_settings
from services.core.timestamps import rfc3339
from services.policy.render import PolicyError

# The top command hands down where settings come from: the environment, or the running local stack.
FindEnvironment = Callable[[], Mapping[str, str]]

IN_PART = 3
DATABASE_AWAY = 4
EXPECTED = (
    RefusedError,
    PolicyError,
    MasterKeyError,
    SettingsError,
)

environment_option = click.option(
    "--env",
    "environment",
    type=click.Choice([str(environment) for environment in Environment]),
    required=True,
    help="live or sandbox.",
)
publish_option = click.option(
    "--publish/--no-publish",
    default=True,
    help="Send the change to the gateway at once (the default).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask first.")
limit_option = click.option(
    "--limit", type=click.IntRange(1, 100_000), default=LIMIT, show_default=True, help="Of lines."
)


class AwayError(click.ClickException):
    """PostgreSQL can't be reached."""

    exit_code = DATABASE_AWAY


@contextmanager
def admin(find_environment: FindEnvironment) -> Generator[Admin]:
    """Open admin; what a person can mend ends as one line and exit code 1, 2 or 4."""
    try:
        settings = load_settings(AdminSettings, find_environment())
        box = SecretBox(settings.master_keys)
        with psycopg.connect(
            settings.admin_database_url,
            autocommit=True,
            connect_timeout=5,
            options="-c timezone=UTC",  # as people are told times
        ) as connection:
            yield Admin(settings, box, lambda: _lent(connection))
    except EXPECTED as exc:
        raise click.ClickException(str(exc)) from exc
    except ExternalTextError as exc:
        raise click.UsageError(str(exc)) from exc
    except psycopg.OperationalError as exc:
        msg = f"PostgreSQL (ADMIN_DATABASE_URL): {str(exc).splitlines()[0]}"
        raise AwayError(msg) from exc


@contextmanager
def _lent(
    connection: psycopg.Connection[Any],
) -> Generator[psycopg.Connection[Any]]:
    yield connection


def tell(published: Published, seconds: float) -> None:
    """Tell on standard error what came of a publish: the output proper is the command's."""
    if not published.nodes:
        click.echo("Not published: KONG_ADMIN_URLS names no node.", err=True)
    for node in published.nodes:
        runs = f"runs {node.hash}  ({seconds:.2f} s)"
        click.echo(f"{node.url}  {f'{node.state}: {node.error}' if node.error else runs}", err=True)
    for line in published.notes():
        click.echo(line, err=True)


def show_json(value: object) -> None:
    """Print what programs read: the same as HTTP answers."""
    click.echo(msgspec.json.encode(value).decode())


def show_listing(
    found: Listing[Any], headings: Sequence[str], row: Callable[[Any], Sequence[object]],
    *, as_json: bool,
) -> None:  # fmt: skip
    """Print a list, and on standard error that there is more of it."""
    if as_json:
        show_json(found)
    else:
        show_table(headings, [row(item) for item in found.items])
    if found.next_cursor is not None:
        click.echo(f"the first {len(found.items)}; --limit shows more", err=True)


def show_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print columns, each as wide as its widest cell; without rows say so."""
    if not rows:
        click.echo("none", err=True)
        return
    cells = [list(headings), *([shown(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def shown(cell: object) -> str:
    """Return a cell for people: times to the second, nothing as a dash."""
    if isinstance(cell, datetime):
        return f"{rfc3339(cell)[:19]}Z"
    return "-" if cell is None or cell == "" else str(cell)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before what can't be undone; without a person there, `--yes` must have been given."""
    if yes:
        return
    if not sys.stdin.isatty():
        _refuse_usage(f"{question} This can't be undone: say --yes")
    click.confirm(question, abort=True, err=True)


def _refuse_usage(message: str) -> NoReturn:
    raise click.UsageError(message)
