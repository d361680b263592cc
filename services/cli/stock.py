"""Stock on the command line: one product, lists, and the daily file."""

import sys
from typing import BinaryIO

import click
import psycopg

from services.admin.pages import Page
from services.admin.stock.importing import RATE, BrokenOffError, Import, ImportOptions, ImportReport
from services.admin.stock.rows import (
    StockFilter,
    check_quantity,
    get_stock,
    list_stock,
    remove_stock,
    set_stock,
)
from services.cli.common import (
    AWAY,
    IN_PART,
    NOT_DONE,
    CommandError,
    FindEnvironment,
    confirm,
    environment_option,
    json_option,
    limit_option,
    show_json,
    show_listing,
    show_table,
    yes_option,
)
from services.cli.direct import database as admin
from services.cli.direct import this_actor
from services.cli.progress import ProgressLine
from services.core.environments import Environment
from services.core.errors import ErrorCode
from services.core.wording import counted
from services.domain.stock import Item, StockStatus

HEADINGS = ["PRODUCT", "QUANTITY", "STATUS", "UPDATED", "VERSION"]
LINES_SHOWN = 20  # refused lines for people; --json has up to 1,000


@click.group()
def stock() -> None:
    """Stock: look, set one product, take the daily file."""


@stock.command("get")
@click.argument("product_id")
@environment_option
@json_option
@click.pass_obj
def get(
    find_environment: FindEnvironment, product_id: str, environment: str, *, as_json: bool
) -> None:
    """Show the stock of PRODUCT_ID."""
    with admin(find_environment) as opened, opened.reading() as connection:
        _show(get_stock(connection, Environment(environment), product_id), as_json=as_json)


@stock.command("set")
@click.argument("product_id")
@click.argument("quantity", type=int)
@environment_option
@json_option
@click.pass_obj
def set_one(
    find_environment: FindEnvironment,
    product_id: str,
    quantity: int,
    environment: str,
    *,
    as_json: bool,
) -> None:
    """Set the stock of PRODUCT_ID, which adds the product if there is none."""
    with admin(find_environment) as opened:
        check_quantity(quantity)
        with opened.changing(this_actor()) as change:
            item, before = set_stock(change, Environment(environment), product_id, quantity)
    _show(item, as_json=as_json)
    if before is None:
        click.echo(f"added {product_id}, which {environment} did not have", err=True)
    else:
        click.echo("unchanged" if before == quantity else f"it was {before}", err=True)


@stock.command("remove")
@click.argument("product_id")
@environment_option
@yes_option
@click.pass_obj
def remove(
    find_environment: FindEnvironment, product_id: str, environment: str, *, yes: bool
) -> None:
    """Remove PRODUCT_ID: partners find it no more."""
    confirm(f"Remove {product_id} from {environment}?", yes=yes)
    with admin(find_environment) as opened, opened.changing(this_actor()) as change:
        item = remove_stock(change, Environment(environment), product_id)
    click.echo(f"removed {item.product_id} from {environment}; its quantity was {item.quantity}")


@stock.command("list")
@environment_option
@click.option("--search", help="A part of the product id.")
@click.option("--status", type=click.Choice([str(status) for status in StockStatus]))
@limit_option
@json_option
@click.pass_obj
def list_all(
    find_environment: FindEnvironment,
    *,
    environment: str,
    search: str | None,
    status: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List products by id."""
    wanted = StockFilter(search=search, status=StockStatus(status) if status else None)
    with admin(find_environment) as opened, opened.reading() as connection:
        found = list_stock(connection, Environment(environment), wanted, Page(limit))
    show_listing(found, HEADINGS, _row, as_json=as_json)


@stock.command("import")
@click.argument("file", type=click.File("rb"))
@environment_option
@click.option("--add", is_flag=True, help="Add products there are not yet; else they are refused.")
@click.option("--all-or-nothing", is_flag=True, help="Write nothing if any line is refused.")
@click.option("--dry-run", is_flag=True, help="Tell what would change, and write nothing.")
@click.option(
    "--rate",
    type=click.IntRange(1, 1_000_000),
    default=RATE,
    show_default=True,
    help="Changes a second at most; webhooks of other changes wait behind faster ones.",
)
@json_option
@click.pass_obj
def import_file(
    find_environment: FindEnvironment,
    file: BinaryIO,
    environment: str,
    *,
    add: bool,
    all_or_nothing: bool,
    dry_run: bool,
    rate: int,
    as_json: bool,
) -> None:
    """Take FILE, or - for standard input: `product_id,quantity` a line, in UTF-8.

    A line that is refused stops no other. Exit code 3: lines were refused; 1: nothing was done.
    """
    options = ImportOptions(add=add, all_or_nothing=all_or_nothing, dry_run=dry_run, rate=rate)
    with admin(find_environment) as opened:
        run = Import(
            opened,
            this_actor(),
            Environment(environment),
            options,
            progress=ProgressLine("lines"),
        )
        try:
            report = run.run(file, str(getattr(file, "name", "-")))
        except BrokenOffError as exc:
            away = isinstance(exc.__cause__, psycopg.OperationalError)
            exit_code = AWAY if away else NOT_DONE
            raise CommandError(ErrorCode.SERVICE_UNAVAILABLE, str(exc), "", exit_code) from exc
    if as_json:
        show_json(report)
    else:
        _tell(report)
    sys.exit(_exit_code(report, options))


def _exit_code(report: ImportReport, options: ImportOptions) -> int:
    if report.refused == 0:
        return 0
    nothing = options.all_or_nothing or report.refused == report.read
    return 1 if nothing else IN_PART


def _tell(report: ImportReport) -> None:
    for refused in report.refused_lines[:LINES_SHOWN]:
        click.echo(f"line {refused.line}: {refused.reason}", err=True)
    if report.refused > LINES_SHOWN:
        click.echo(f"... {report.refused - LINES_SHOWN:,} more; --json has 1,000", err=True)
    counts = [
        f"{getattr(report, name):,} {name}" for name in ("changed", "unchanged", "added", "refused")
    ]
    click.echo(f"{counted(report.read, 'line')} in {report.seconds:.1f} s: {', '.join(counts)}")
    if not report.written:
        click.echo("nothing was written: this is what would have changed", err=True)


def _show(item: Item, *, as_json: bool) -> None:
    if as_json:
        show_json(item)
    else:
        show_table(HEADINGS, [_row(item)])


def _row(item: Item) -> tuple[object, ...]:
    return (item.product_id, item.quantity, item.status, f"{item.updated_at[:19]}Z", item.version)
