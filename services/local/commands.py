"""Commands: what is asked of a stack that runs, or ran: down, status, logs.

Kept apart from `up`, which needs everything: these start in half the time.
"""

import contextlib
import json
import sys
from collections.abc import Generator
from pathlib import Path

import click

from services.local import tail
from services.local.children import StackError
from services.local.detach import end_supervisor
from services.local.interrupts import StopRequested
from services.local.leftovers import end_leftovers
from services.local.state import StateFolder
from services.local.status import status_rows, table

NOT_RUNNING = 3  # exit code of `status`, as service managers have it

state_dir_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=".stack",
    envvar="PARTNERAPI_STATE_DIR",
    show_default=True,
    help="Where data, keys, passwords and logs lie.",
)


@contextlib.contextmanager
def told_in_one_line() -> Generator[None]:
    """End a command with one line and exit code 1 for what a person can mend."""
    try:
        yield
    except StackError as exc:
        raise click.ClickException(str(exc)) from exc
    except PermissionError as exc:
        msg = f"{exc.filename}: {exc.strerror}; was the stack started by another user?"
        raise click.ClickException(msg) from exc
    except OSError as exc:
        msg = f"{exc.filename or 'the state folder'}: {exc.strerror or exc}"
        raise click.ClickException(msg) from exc
    except StopRequested:
        click.echo("Stopped.")


def tell(line: str) -> None:
    """Print a line for people at once, also into a pipe."""
    click.echo(line)
    sys.stdout.flush()


@click.command()
@state_dir_option
def down(state_dir: Path) -> None:
    """End the local stack; its data stays."""
    folder = StateFolder(state_dir)
    with told_in_one_line():
        record = folder.running()
        if record is not None:
            names = ", ".join(sorted(record.children))
            end_supervisor(record)
            click.echo(f"Ended the stack in {folder.path}: {names}.")
        elif left := end_leftovers(folder, tell):
            click.echo(f"Ended the rest of a stack that was killed: {', '.join(left)}.")
        else:
            click.echo(f"No stack runs in {folder.path}.")


@click.command()
@state_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(state_dir: Path, *, as_json: bool) -> None:
    """Show what runs; exit code 3 when nothing does."""
    folder = StateFolder(state_dir)
    with told_in_one_line():
        record = folder.running()
    rows = [] if record is None else status_rows(record, folder)
    if as_json:
        urls = {} if record is None else record.urls
        click.echo(json.dumps({"running": bool(rows), "urls": urls, "processes": rows}))
    else:
        click.echo(table(rows) if rows else f"No stack runs in {folder.path}.")
    if not rows:
        sys.exit(NOT_RUNNING)


@click.command()
@state_dir_option
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(0), default=50, show_default=True)
def logs(state_dir: Path, name: str | None, lines: int, *, follow: bool) -> None:
    """Show a child's log, or the logs of all when no NAME is given."""
    folder = StateFolder(state_dir)
    with told_in_one_line():
        found = {path.stem: path for path in sorted(folder.logs.glob("*.log"))}
        if not found:
            msg = f"there are no logs in {folder.path}"
            raise StackError(msg)
        if name is not None and name not in found:
            msg = f"there is no log of {name}; there are {', '.join(found)}"
            raise StackError(msg)
        chosen = found if name is None else {name: found[name]}
        with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
            for line in tail.lines(chosen, last=lines, follow=follow):
                click.echo(line)
