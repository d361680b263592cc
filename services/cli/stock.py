"""Stock on the command line: one product, lists, and the daily file."""

import sys
from collections.abc import Iterator
from typing import BinaryIO

import click
import httpx
import msgspec

from services.admin.stock.importing import RATE, RATE_MOST, ImportReport
from services.cli.client import AdminAwayError, RefusedByAdminError, decoded, lines, request_id_of
from services.cli.common import (
    IN_PART,
    NOT_DONE,
    FindEnvironment,
    admin,
    confirm,
    environment_option,
    json_option,
    limit_option,
    show_json,
    show_listing,
    show_table,
    yes_option,
)
from services.cli.progress import ProgressLine
from services.core.errors import Envelope, ErrorCode
from services.core.headers import JSON_LINES
from services.core.wording import counted
from services.domain.stock import Item, StockStatus

HEADINGS = ["PRODUCT", "QUANTITY", "STATUS", "UPDATED", "VERSION"]
LINES_SHOWN = 20  # refused lines for people; --json has up to 1,000
CREATED = 201  # the status when a product is new
PART = 64 * 1024  # bytes of a file that are read, and sent, at a time


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
    with admin(find_environment) as client:
        _show(client.get(Item, environment, "stock", product_id), as_json=as_json)


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
    body = msgspec.json.encode({"quantity": quantity})
    with (
        admin(find_environment) as client,
        client.stream("PUT", environment, "stock", product_id, content=body) as answer,
    ):
        item = decoded(answer, answer.read(), Item)
        is_new = answer.status_code == CREATED
    _show(item, as_json=as_json)
    if is_new:
        click.echo(f"added {product_id}, which {environment} did not have", err=True)


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
    with admin(find_environment) as client:
        client.call("DELETE", type(None), environment, "stock", product_id)
    click.echo(f"removed {product_id} from {environment}")


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
    limit: int,
    as_json: bool,
    **search: object,
) -> None:
    """List products by id."""
    with admin(find_environment) as client:
        found = client.listing(Item, environment, "stock", limit=limit, **search)
    show_listing(found, HEADINGS, _row, as_json=as_json)


@stock.command("import")
@click.argument("file", type=click.File("rb"))
@environment_option
@click.option("--add", is_flag=True, help="Add products there are not yet; else they are refused.")
@click.option("--all-or-nothing", is_flag=True, help="Write nothing if any line is refused.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and write nothing.")
@click.option(
    "--allow-unterminated", is_flag=True, help="Take a file whose last line has no line end."
)
@click.option(
    "--yes", "confirm_zeroing", is_flag=True, help="Set more than half of what is in stock to 0."
)
@click.option(
    "--rate",
    type=click.IntRange(1, RATE_MOST),
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
    as_json: bool,
    **options: object,
) -> None:
    """Take FILE, or - for standard input: `product_id,quantity` a line, in UTF-8.

    A line that is refused stops no other. Exit code 3: lines were refused; 1: nothing was done.
    """
    options["file_name"] = str(getattr(file, "name", "-"))
    with (
        admin(find_environment) as client,
        client.stream(
            "POST",
            *(environment, "stock", "import"),
            parameters=options,
            content=_parts(file),
            content_type="text/csv",
            accept=JSON_LINES,
        ) as answer,
    ):
        report = _report_of(answer)
    if as_json:
        show_json(report)
    else:
        _show_report(report)
    sys.exit(_exit_code(report, all_or_nothing=bool(options["all_or_nothing"])))


class _Line(msgspec.Struct):
    """A line of an import's answer: how far it is, or its end."""

    done: int = 0
    total: int = 0
    report: ImportReport | None = None
    error: Envelope | None = None


def _parts(file: BinaryIO) -> Iterator[bytes]:
    while part := file.read(PART):
        yield part


def _report_of(answer: httpx.Response) -> ImportReport:
    """Show progress until the report is there; return it. Raises AdminError."""
    progress = ProgressLine("lines")
    try:
        return _last_of(answer, progress)
    finally:
        progress.end()


def _last_of(answer: httpx.Response, progress: ProgressLine) -> ImportReport:
    for received in lines(answer):
        line = decoded(answer, received, _Line)
        if line.report is not None:
            return line.report
        if line.error is not None:
            away = line.error.code == ErrorCode.SERVICE_UNAVAILABLE
            kind = AdminAwayError if away else RefusedByAdminError
            raise kind(line.error.code, line.error.message, line.error.request_id)
        progress(line.done, line.total)
    msg = "admin's answer ends before the report: the audit log says how far the import came"
    raise AdminAwayError(ErrorCode.SERVICE_UNAVAILABLE, msg, request_id_of(answer))


def _exit_code(report: ImportReport, *, all_or_nothing: bool) -> int:
    if report.refused == 0:
        return 0
    nothing = all_or_nothing or report.refused == report.read
    return NOT_DONE if nothing else IN_PART


def _show_report(report: ImportReport) -> None:
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
