"""Build: the parts of the api program, put together."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from litestar import Litestar
from litestar.types import ASGIApp

from services.core.availability import Availability
from services.core.background import going_on
from services.core.database import DatabaseCheck, Pool, make_pool
from services.core.database_calls import Calls
from services.core.encryption import SecretBox
from services.core.environments import Environment
from services.core.http.assembly import Lifespan
from services.core.http.health import Dependency
from services.core.stored_secrets import StoredSecrets
from services.domain.endpoint_secrets import endpoint_secrets_in_use
from services.domain.key_uses import EVERY, KeyUses, KeyUseStore
from services.webhooks.api.app import Stores, make_webhooks_app
from services.webhooks.api.delivery_store import DeliveryStore
from services.webhooks.api.sandbox import SandboxStore
from services.webhooks.api.statements import STATEMENT_TIMEOUT_MS
from services.webhooks.api.store import Store
from services.webhooks.queue import Lane, Wakeups, make_broker
from services.webhooks.settings import ApiSettings
from services.webhooks.targets import TargetPolicy
from services.webhooks.waking import Waker

POOL_SIZE = 8
POOL_CLOSES_WITHIN = 1.0  # seconds
# Of an environment's role: with the address of another environment the service is not ready.
CAN_READ_PARTNERS = "SELECT FROM partners LIMIT 0"
WAKE_MOST = 4  # workers for one endpoint; it has no more in flight


class WakingThread:
    """Sends wake-ups off the requests' path: Valkey may take 2 s to say nothing."""

    def __init__(self, wakeups: Wakeups) -> None:
        """Make the thread, which starts with its first wake-up."""
        self._wakeups = wakeups
        self._waker = Waker(wakeups)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="waking")

    def wake(self, endpoint_id: UUID, deliveries: int) -> None:
        """Ask for workers for an endpoint, some time soon.

        Always through the fast lane: a worker there passes a slow endpoint by, and the scheduler
        wakes it in its own.
        """
        times = min(deliveries, WAKE_MOST)
        self._thread.submit(self._wake, endpoint_id, times)

    def _wake(self, endpoint_id: UUID, times: int) -> None:
        with going_on("waking.failed"):  # nobody asks for what the thread returned or raised
            self._waker.wake(endpoint_id, Lane.FAST, times=times)

    async def ping(self) -> None:
        """Raise QueueAwayError unless Valkey answers."""
        await asyncio.to_thread(self._wakeups.waiting, Lane.FAST)

    def close(self) -> None:
        """End the thread; what it has not sent, the scheduler sends."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def build_api(settings: ApiSettings, *, key_uses_every: float = EVERY) -> ASGIApp:
    """Return the app; nothing connects before it starts. `key_uses_every` is in seconds.

    Raises SettingsError, MasterKeyError.
    """
    environment = settings.environment
    box = SecretBox(settings.master_keys)
    policy = TargetPolicy.of(settings.development_targets, settings.target_ports)
    pool = make_pool(
        settings.database_url,
        name="webhooks-api",
        environment=environment,
        size=POOL_SIZE,
        statement_timeout_ms=STATEMENT_TIMEOUT_MS,
    )
    database = _availability("database")
    calls = Calls(pool, availability=database)
    database_check = DatabaseCheck(
        settings.database_url,
        name="webhooks-api",
        environment=environment,
        availability=database,
        statement=CAN_READ_PARTNERS,
    )
    waking = WakingThread(Wakeups(make_broker(settings.queue_url, environment)))
    stores = Stores(
        Store(calls, environment, box, endpoint_limit=settings.endpoint_limit),
        DeliveryStore(calls),
        SandboxStore(calls) if environment is Environment.SANDBOX else None,
    )
    key_uses = KeyUses(
        KeyUseStore(calls).write,
        every=key_uses_every,
        clock=time.time,
        availability=_availability("key_uses"),
    )
    secrets = StoredSecrets(settings.database_url, environment, box, endpoint_secrets_in_use)
    return make_webhooks_app(
        stores,
        environment=environment,
        backend_token=settings.backend_token,
        note_key=key_uses.note,
        policy=policy,
        wake=waking.wake,
        dependencies=_dependencies(database_check, waking),
        lifespan=_running(pool, database_check, waking, key_uses, secrets),
        collectors=[secrets],
    )


def _availability(name: str) -> Availability:
    return Availability(name, clock=time.monotonic)


def _dependencies(database_check: DatabaseCheck, waking: WakingThread) -> Mapping[str, Dependency]:
    """Return what /health/ready looks at; without Valkey, the scheduler does what it can."""
    return {
        "postgresql": Dependency(database_check.check, essential=True),
        "valkey": Dependency(waking.ping, essential=False),
    }


def _running(
    pool: Pool,
    database_check: DatabaseCheck,
    waking: WakingThread,
    key_uses: KeyUses,
    secrets: StoredSecrets,
) -> Lifespan:
    @contextlib.asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncGenerator[None]:
        secrets.start()
        await pool.open(wait=False)
        try:
            async with key_uses.kept():
                yield
        finally:
            waking.close()
            await database_check.close()
            await pool.close(timeout=POOL_CLOSES_WITHIN)

    return lifespan
