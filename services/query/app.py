"""App: the two HTTP faces of the inventory; partners' behind the gateway, our own shop's."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import cast

import msgspec
from litestar import Response, Router, asgi, get
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from services.kernel.environments import Environment
from services.kernel.errors import ErrorCode, PartnerError
from services.kernel.timestamps import rfc3339
from services.kernel.web.assembly import Lifespan, make_app
from services.kernel.web.bodies import ClientGoneError, read_json_body
from services.kernel.web.failures import REFUSALS, refuse_trailing_slash
from services.kernel.web.gateway_only import GatewayOnly
from services.kernel.web.health import Dependency
from services.kernel.web.inputs import check_product_id
from services.kernel.web.request_scope import send_json
from services.query.delta import Delta
from services.query.delta_route import changes_route
from services.query.documents import document_routes
from services.query.inventory import Found, Inventory
from services.query.requests import ids_of_body, ids_of_query

INVENTORY_PATH = "/partner/v1/inventory"
STOCK_PATH = "/api/v1/products/{product_id:str}/stock"

Clock = Callable[[], float]  # seconds since 1970
NoteKey = Callable[[bytes], None]  # takes the credential id of a request
_encode = msgspec.json.Encoder().encode


def make_partner_app(
    inventory: Inventory,
    delta: Delta,
    *,
    environment: Environment,
    backend_token: str,
    note_key: NoteKey,
    dependencies: Mapping[str, Dependency],
    lifespan: Lifespan,
    clock: Clock,
) -> ASGIApp:
    """Return the app that the gateway calls for partners."""

    # A function: of a DefineMiddleware Litestar copies the arguments deeply, and would note uses
    # in a copy.
    def gateway_only(app: ASGIApp) -> ASGIApp:
        return GatewayOnly(app, token=backend_token, environment=environment, note_key=note_key)

    partner_routes = Router(
        "/",
        route_handlers=[inventory_route(inventory, clock), changes_route(delta, clock)],
        middleware=[gateway_only],
    )
    return make_app([partner_routes, *document_routes()], dependencies, lifespan)


def make_internal_app(
    inventory: Inventory, *, dependencies: Mapping[str, Dependency], lifespan: Lifespan
) -> ASGIApp:
    """Return the app that our own shop calls; no key, no gateway (Q10)."""
    return make_app([stock_route(inventory)], dependencies, lifespan)


def inventory_route(inventory: Inventory, clock: Clock) -> ASGIRouteHandler:
    """Return the handler of a batch query, for every method (Q1, Q12).

    Plain ASGI: Litestar's Request and Response would cost half of the time of a cached answer.
    """

    @asgi(INVENTORY_PATH, copy_scope=False)
    async def query_inventory(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            product_ids = await _requested_ids(cast("HTTPScope", scope), receive)
        except ClientGoneError:
            return
        found = await inventory.find(product_ids)
        now = rfc3339(datetime.fromtimestamp(clock(), UTC))
        await send_json(send, 200, _answer(found, now))

    return query_inventory


def stock_route(inventory: Inventory) -> HTTPRouteHandler:
    """Return the handler of one product's stock (Q10)."""

    @get(STOCK_PATH)
    async def get_stock(product_id: FromPath[str]) -> Response[bytes]:
        check_product_id("product_id", product_id)
        found = await inventory.find([product_id])
        if not found.items:
            raise PartnerError(ErrorCode.NOT_FOUND, "There is no such product")
        return Response(found.items, media_type="application/json")

    return get_stock


async def _requested_ids(scope: HTTPScope, receive: Receive) -> list[str]:
    refuse_trailing_slash(scope)
    method = str(scope["method"])
    if method == "POST":
        return ids_of_body(await read_json_body(scope, receive))
    if method == "GET":
        return ids_of_query(scope["query_string"])
    raise PartnerError(*REFUSALS[405], headers={"Allow": "GET, POST"})


def _answer(found: Found, now: str) -> bytes:
    """Return the body: items are finished JSON and stay as they are."""
    return b'{"items":[%s],"not_found":%s,"timestamp":"%s"}' % (
        found.items,
        _encode(found.not_found),
        now.encode(),
    )
