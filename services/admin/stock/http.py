"""Stock over HTTP: one product, lists, and the daily file."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import msgspec
from litestar import Request, Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from services.admin.audit.rows import Actor
from services.admin.changes import Admin
from services.admin.pages import LIMIT, Listing, page_of
from services.admin.stock.importing import RATE, Import, ImportOptions, ImportReport
from services.admin.stock.rows import StockFilter, get_stock, list_stock, remove_stock, set_stock
from services.admin.stock.running import JsonLines, RunningImport, no_room, running
from services.admin.tokens.rows import Token
from services.core.environments import Environment
from services.core.errors import ErrorCode, PartnerError
from services.core.headers import JSON_LINES
from services.core.http.bodies import body_parts
from services.core.http.paths import path_segments
from services.domain.stock import Item, StockStatus

OperatorRequest = Request[Actor, Token, Any]

STOCK = "/{environment:str}/stock"
IMPORT = f"{STOCK}/import"
PRODUCT = f"{STOCK}/{{product_id:str}}"
FILE_MOST = 32 * 1024 * 1024  # bytes; 200,000 lines are 3 to 5 MB
IN_MEMORY = 1024 * 1024  # bytes of a file that is on its way; more goes to disk


class Quantity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a product's stock shall be, in units."""

    quantity: int


@get(STOCK, sync_to_thread=True, tags=["stock"])
def list_products(
    *,
    admin: Admin,
    environment: Environment,
    search: str | None = None,
    status: StockStatus | None = None,
    limit: int = LIMIT,
    cursor: str | None = None,
) -> Listing[Item]:
    """List products by id. `search` is a part of the id, in whatever case."""
    page = page_of(limit, cursor)
    with admin.reading(environment) as connection:
        return list_stock(connection, StockFilter(search=search, status=status), page)


def get_product(admin: Admin, request: OperatorRequest, environment: Environment) -> Item:
    """Return a product's stock."""
    with admin.reading(environment) as connection:
        return get_stock(connection, environment, product_of(request))


def set_product(
    admin: Admin, request: OperatorRequest, environment: Environment, data: Quantity
) -> Response[Item]:
    """Set a product's stock; 201 when the product is new."""
    with admin.changing(request.user, environment) as change:
        item, before = set_stock(change, environment, product_of(request), data.quantity)
    return Response(item, status_code=201 if before is None else 200)


def remove_product(admin: Admin, request: OperatorRequest, environment: Environment) -> None:
    """Remove a product: partners find it no more."""
    with admin.changing(request.user, environment) as change:
        remove_stock(change, environment, product_of(request))


def product_of(request: OperatorRequest) -> str:
    """Return the last segment of the path: the product id, be it `import`."""
    return path_segments(request.scope["raw_path"])[-1]


@dataclass
class TakesCsv(Operation):
    """The OpenAPI operation of a handler that reads its body itself."""

    def __post_init__(self) -> None:
        """Describe the body."""
        text = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        self.request_body = RequestBody(
            content={"text/csv": OpenAPIMediaType(schema=text)},
            description="`product_id,quantity` a line, a header or none, in UTF-8",
            required=True,
        )


@post(
    IMPORT,
    status_code=200,
    tags=["stock"],
    operation_class=TakesCsv,
)
async def import_products(
    *,
    admin: Admin,
    request: OperatorRequest,
    environment: Environment,
    add: bool = False,
    all_or_nothing: bool = False,
    dry_run: bool = False,
    allow_unterminated: bool = False,
    confirm_zeroing: bool = False,
    rate: int = RATE,
    file_name: str = "",
) -> Response[ImportReport]:
    """Take the daily file as it is sent; `file_name` is for the audit log.

    Products that are not there yet are refused unless `add=true`. A line that is refused stops no
    other, unless `all_or_nothing=true`; `dry_run=true` tells what would change. A file whose last
    line has no line end may be cut and needs `allow_unterminated=true`; one that sets more than
    half of the products in stock to 0 needs `confirm_zeroing=true`. `rate` is how many changes a
    second are made at most.

    With `Accept: application/x-ndjson` the answer is lines of JSON: `{"done", "total"}` from time
    to time, and a last one with `report` or `error`.
    """
    _require_csv(request)
    options = ImportOptions(
        add=add,
        all_or_nothing=all_or_nothing,
        dry_run=dry_run,
        allow_unterminated=allow_unterminated,
        confirm_zeroing=confirm_zeroing,
        rate=rate,
    )

    def make(started: RunningImport) -> Import:
        return Import(
            admin,
            request.user,
            environment,
            options,
            progress=started.note,
            stopping=started.ending.is_set,
            sleep=started.ending.wait,
        )

    run = running(make, await _received(request), file_name)
    if JSON_LINES in request.headers.get("accept", ""):
        return JsonLines(request, run)
    async with run as started:
        await started.has_ended()
        return Response(started.report())


async def _received(request: OperatorRequest) -> IO[bytes]:
    """Return the file of a body, at its beginning. Raises PartnerError (400, 413, 415)."""
    file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 -- the import closes it
    try:
        async for part in body_parts(request.scope, request.receive, limit=FILE_MOST):
            file.write(part)
    except OSError as exc:
        file.close()
        raise no_room(exc) from exc
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def _require_csv(request: OperatorRequest) -> None:
    kind, parameters = request.content_type
    if kind != "text/csv" or parameters.get("charset", "utf-8").lower() != "utf-8":
        msg = "Send the file with Content-Type: text/csv"
        raise PartnerError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, msg)


STOCK_HANDLERS: Sequence[HTTPRouteHandler] = (
    list_products,
    # A router prefers a literal segment, so that the product `import` needs the same once more.
    *(
        method(path, sync_to_thread=True, tags=["stock"], include_in_schema=path == PRODUCT)(handle)
        for path in (PRODUCT, IMPORT)
        for method, handle in ((get, get_product), (put, set_product), (delete, remove_product))
    ),
    import_products,
)
