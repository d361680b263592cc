"""App: the partners' API of webhooks, behind the gateway."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from litestar import asgi
from litestar.types import ASGIApp, Receive, Scope, Send
from prometheus_client.registry import Collector

from services.core.environments import Environment
from services.core.http.assembly import Lifespan, make_app
from services.core.http.gateway_only import GatewayOnly
from services.core.http.health import Dependency
from services.webhooks.api.deliveries import Deliveries, Wake
from services.webhooks.api.delivery_store import DeliveryStore
from services.webhooks.api.resources import Methods, Resources
from services.webhooks.api.sandbox import Sandbox, SandboxStore
from services.webhooks.api.store import Store
from services.webhooks.api.webhooks import Webhooks
from services.webhooks.targets import TargetPolicy

NoteKey = Callable[[bytes], None]  # takes the credential id of a request


@dataclass(frozen=True)
class Stores:
    """Where this API keeps things; `sandbox` is None in live."""

    webhooks: Store
    deliveries: DeliveryStore
    sandbox: SandboxStore | None


def make_webhooks_app(
    stores: Stores,
    *,
    environment: Environment,
    backend_token: str,
    note_key: NoteKey,
    policy: TargetPolicy,
    wake: Wake,
    dependencies: Mapping[str, Dependency],
    lifespan: Lifespan,
    collectors: Sequence[Collector] = (),
) -> ASGIApp:
    """Return the app that the gateway calls for partners."""
    paths: dict[str, Methods] = {
        **Webhooks(stores.webhooks, policy).paths,
        **Deliveries(stores.deliveries, wake).paths,
        **(Sandbox(stores.sandbox).paths if stores.sandbox else {}),
    }
    resources = Resources(environment, stores.webhooks.find_partner, paths)
    gateway_only = GatewayOnly(
        resources, token=backend_token, environment=environment, note_key=note_key
    )

    @asgi("/partner/v1", is_mount=True, copy_scope=False)
    async def serve_partners(scope: Scope, receive: Receive, send: Send) -> None:
        await gateway_only(scope, receive, send)

    return make_app([serve_partners], dependencies, lifespan, collectors=collectors)
