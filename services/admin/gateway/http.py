"""The gateway over HTTP: what its nodes run, and a publish now."""

from collections.abc import Sequence

from litestar import get, post
from litestar.handlers import HTTPRouteHandler

from services.admin.changes import Admin
from services.admin.gateway.publisher import Published
from services.admin.gateway.status import GatewayStatus, read_status


@get("/gateway", sync_to_thread=True, tags=["gateway"])
def show_gateway(admin: Admin) -> GatewayStatus:
    """Tell what each node runs, as the publisher last saw it, and whether that is right."""
    with admin.reading() as connection:
        return read_status(connection, admin.settings)


@post("/gateway/publish", status_code=200, tags=["gateway"])
async def publish_gateway(admin: Admin) -> Published:
    """Have every node run kong.yml with the partners and keys of now; tell by node.

    It happens by itself within a second of a change; this waits until it has.
    """
    return await admin.await_publish()


GATEWAY: Sequence[HTTPRouteHandler] = (show_gateway, publish_gateway)
