"""Common: what the groups of commands share; the call of admin, exit codes, tables, questions.

Exit codes: 0 done; 1 not done; 2 wrong usage; 3 done in PostgreSQL but only in part elsewhere (a
node does not run it yet, an import had lines that were refused); 4 admin can't be reached.
"""

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NoReturn

import click
import msgspec

from services.admin.audit.system_user import os_user
from services.admin.pages import LIMIT, Listing
from services.cli.client import AdminAwayError, AdminError, Client, ClientSettings
from services.core.environments import Environment
from services.core.settings import SettingsError, load_settings
from services.core.timestamps import rfc3339

# The top command hands down where settings come from: the environment, or the running local stack.
FindEnvironment = Callable[[], Mapping[str, str]]

NOT_DONE = 1
IN_PART = 3
AWAY = 4

environment_option = click.option(
    "--env",
    "environment",
    type=click.Choice([str(environment) for environment in Environment]),
    required=True,
    help="live or sandbox.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask first.")
limit_option = click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=LIMIT,
    show_default=True,
    help="Maximum number of rows.",
)


class CommandError(click.ClickException):
    """A command did not do what was asked: one sentence, or with --json the object of A5."""

    def __init__(self, code: str, message: str, request_id: str, exit_code: int = NOT_DONE) -> None:
        super().__init__(message)
        self.code = code
        self.request_id = request_id
        self.exit_code = exit_code  # pyright: ignore[reportAttributeAccessIssue] -- click's own do so

    def format_message(self) -> str:
        """Return the sentence, with the id that finds the request in admin's log."""
        return f"{self.message} (request {self.request_id})" if self.request_id else self.message


@contextmanager
def admin(find_environment: FindEnvironment) -> Generator[Client]:
    """Lend a client of admin; its errors end the command with exit code 1 or 4."""
    try:
        with Client(load_settings(ClientSettings, find_environment()), os_user()) as client:
            yield client
    except SettingsError as exc:
        raise click.ClickException(str(exc)) from exc
    except AdminError as exc:
        exit_code = AWAY if isinstance(exc, AdminAwayError) else NOT_DONE
        raise CommandError(exc.code, exc.message, exc.request_id, exit_code) from exc


def show_json(value: object) -> None:
    """Print the document that HTTP answers."""
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
