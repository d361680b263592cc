"""App: the two HTTP faces of the inventory; partners' behind the gateway, our own shop's."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import msgspec
from litestar import Response, asgi, get
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send
from prometheus_client.registry import Collector

from services.core.environments import Environment
from services.core.errors import ErrorCode, PartnerError
from services.core.http.assembly import Lifespan, make_app
from services.core.http.bodies import ClientGoneError, read_json_body
from services.core.http.failures import REFUSALS
from services.core.http.gateway_only import GatewayOnly
from services.core.http.health import Dependency
from services.core.http.inputs import check_product_id
from services.core.http.request_scope import send_json
from services.core.timestamps import Stamps
from services.query.delta import Delta
from services.query.delta_route import CHANGES_PATH, changes_handler
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
    collectors: Sequence[Collector] = (),
) -> ASGIApp:
    """Return the app that the gateway calls for partners."""

    def partner_route(path: str, handler: ASGIApp) -> ASGIRouteHandler:
        gateway_only = GatewayOnly(
            handler, token=backend_token, environment=environment, note_key=note_key
        )

        # Not Litestar's middleware: that adds a second of its layers for exceptions.
        @asgi(path, copy_scope=False)
        async def serve_partners(scope: Scope, receive: Receive, send: Send) -> None:
            await gateway_only(scope, receive, send)

        return serve_partners

    routes = [
        partner_route(INVENTORY_PATH, inventory_handler(inventory, clock)),
        partner_route(CHANGES_PATH, changes_handler(delta, clock)),
    ]
    routes += document_routes()
    return make_app(routes, dependencies, lifespan, collectors=collectors)


def make_internal_app(
    inventory: Inventory,
    *,
    dependencies: Mapping[str, Dependency],
    lifespan: Lifespan,
    collectors: Sequence[Collector] = (),
) -> ASGIApp:
    """Return the app that our own shop calls; no key, no gateway (Q10)."""
    routes = [stock_route(inventory)]
    return make_app(routes, dependencies, lifespan, collectors=collectors)


def inventory_handler(inventory: Inventory, clock: Clock) -> ASGIApp:
    """Return the handler of a batch query, for every method (Q1, Q12).

    Plain ASGI: Litestar's Request and Response would cost half of the time of a cached answer.
    """
    stamps = Stamps()

    async def query_inventory(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            product_ids = await _requested_ids(cast("HTTPScope", scope), receive)
        except ClientGoneError:
            return
        found = await inventory.find(product_ids)
        await send_json(send, 200, _answer(found, stamps.stamp(clock())))

    return query_inventory


def stock_route(inventory: Inventory) -> HTTPRouteHandler:
    """Return the handler of one product's stock (Q10)."""

    @get(STOCK_PATH)
    async def get_stock(product_id: FromPath[str]) -> Response[bytes]:
        check_product_id("product_id", product_id)
        found = await inventory.find([product_id])
        if not found.items:
            raise PartnerError(ErrorCode.NOT_FOUND, "There is no such product")
        return Response(found.items[0], media_type="application/json")

    return get_stock


async def _requested_ids(scope: HTTPScope, receive: Receive) -> list[str]:
    method = str(scope["method"])
    if method == "POST":
        return ids_of_body(await read_json_body(scope, receive))
    if method == "GET":
        return ids_of_query(scope["query_string"])
    raise PartnerError(*REFUSALS[405], headers={"Allow": "GET, POST"})


def _answer(found: Found, now: bytes) -> bytes:
    """Return the body: items are finished JSON and stay as they are."""
    end = b'],"not_found":%s,"timestamp":"%s"}' % (
        _encode(found.not_found) if found.not_found else b"[]",
        now,
    )
    if not found.items:
        return b'{"items":[' + end
    # One copy of all the items: with the first and the last of them go the beginning and the end.
    parts = found.items
    parts[0] = b'{"items":[' + parts[0]
    parts[-1] += end
    return b",".join(parts)
