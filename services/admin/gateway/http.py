"""The gateway over HTTP: what its nodes run, what a publish would change, and a publish now."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler

from services.admin.access import LOOKS_ONLY
from services.admin.changes import Admin
from services.admin.gateway.desired import Configuration
from services.admin.gateway.diff import Diff, diff_nodes, read_wanted
from services.admin.gateway.node_sync import text_hash
from services.admin.gateway.publish_wait import Published
from services.admin.gateway.status import GatewayStatus, read_status
from services.core.external_text import ExternalText
from services.policy.render import mask

# Text that is read and not stored: several lines, as YAML has them, but nothing that is no text.
TEXT = r"^[^\x00\ud800-\udfff]*$"
PolicyText = Annotated[str, msgspec.Meta(pattern=TEXT, max_length=100_000)]


class OtherPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kong.yml that is not in its place yet."""

    policy: PolicyText
    name: ExternalText = "kong.yml"  # for the places of its faults


@get("/gateway", sync_to_thread=True, tags=["gateway"])
def show_gateway(admin: Admin) -> GatewayStatus:
    """Tell what each node runs, as the reconciler last saw it, and whether that is right."""
    with admin.reading() as connection:
        return read_status(connection, admin.settings)


@get("/gateway/configuration", sync_to_thread=True, tags=["gateway"])
def show_configuration(admin: Admin) -> Configuration:
    """Return what nodes should run, with masked keys."""
    text = admin.render()
    return Configuration(text_hash(text), mask(text))


@get("/gateway/diff", sync_to_thread=True, tags=["gateway"])
def diff_gateway(admin: Admin) -> Diff:
    """Compare what each node runs with kong.yml and the partners of now; shows no key."""
    return _diff(admin)


@post(
    "/gateway/diff",
    status_code=200,
    sync_to_thread=True,
    tags=["gateway"],
    opt={LOOKS_ONLY: True},
)
def diff_other_policy(admin: Admin, data: OtherPolicy) -> Diff:
    """Compare what each node runs with another kong.yml; changes nothing and shows no key."""
    return _diff(admin, (data.name, data.policy))


def _diff(admin: Admin, other: tuple[str, str] | None = None) -> Diff:
    """Ask the nodes without a connection of the pool: one that hangs holds up nobody else (S9)."""
    with admin.reading() as connection:
        wanted = read_wanted(connection, admin.settings, admin.box, other)
    return diff_nodes(admin.settings.nodes, wanted)


@post("/gateway/publish", status_code=200, tags=["gateway"])
async def publish_gateway(admin: Admin) -> Published:
    """Have every node run kong.yml with the partners and keys of now; tell by node.

    It happens by itself within a second of a change; this waits until it has.
    """
    return await admin.await_publish()


GATEWAY: Sequence[HTTPRouteHandler] = (
    show_gateway,
    show_configuration,
    diff_gateway,
    diff_other_policy,
    publish_gateway,
)
