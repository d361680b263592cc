"""Entry: the composition root of admin's service; `python -m services.admin`."""

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

from litestar import Litestar
from litestar.types import ASGIApp

from services.admin.app import make_admin_app
from services.admin.changes import Admin
from services.admin.gateway.reconciler import Reconciler
from services.admin.master_key import queries_in_use
from services.admin.metrics import AdminMetrics
from services.admin.settings import ServiceSettings
from services.core.availability import Availability
from services.core.database import DatabaseCheck, ThreadPool, make_thread_pool
from services.core.encryption import MasterKeyError, SecretBox
from services.core.http.assembly import Lifespan
from services.core.http.health import Dependency
from services.core.http.serving import PortTakenError, listen, serve
from services.core.logs import configure_logs
from services.core.settings import SettingsError, load_settings
from services.core.stored_secrets import StoredSecrets

POOL_SIZE = 8
# For what waits for PostgreSQL, and an import each for up to a minute. By default there are 4 more
# than processors, and a few imports would hold up every request.
THREADS = 32
STATEMENT_TIMEOUT_MS = 15_000  # a search of operations may take longer than a partner's request
POOL_CLOSES_WITHIN = 1.0  # seconds


def main() -> None:
    """Serve operations and keep the gateway right until SIGTERM."""
    try:
        settings = load_settings(ServiceSettings, os.environ)
        app = build(settings)
        listener = listen(settings.host, settings.port)
    except (SettingsError, MasterKeyError) as exc:
        sys.stderr.write(f"{exc}\n")
        sys.exit(2)
    except PortTakenError as exc:
        sys.stderr.write(f"admin: {exc}\n")
        sys.exit(1)
    configure_logs(settings.log_format, service="admin", environment="control")
    if not serve(app, listener):
        sys.exit(1)


def build(settings: ServiceSettings) -> ASGIApp:
    """Return the app; nothing connects before it starts. Raises MasterKeyError."""
    pool = make_thread_pool(
        settings.admin_database_url,
        name="admin",
        size=POOL_SIZE,
        statement_timeout_ms=STATEMENT_TIMEOUT_MS,
    )
    box = SecretBox(settings.master_keys)
    admin = Admin(settings, box, pool.connection)
    name = f"{socket.gethostname()}, process {os.getpid()}"
    reconciler = Reconciler(settings, box, name=name, clock=time.monotonic)
    metrics = AdminMetrics(admin, is_leader=lambda: reconciler.is_leader, clock=time.monotonic)
    availability = Availability("database", clock=time.monotonic)
    database_check = DatabaseCheck(
        settings.admin_database_url, name="admin", availability=availability
    )
    secrets = StoredSecrets(settings.admin_database_url, box, queries_in_use())
    return make_admin_app(
        admin,
        availability=availability,
        dependencies={"postgresql": Dependency(database_check.check, essential=True)},
        lifespan=_running(pool, database_check, reconciler, secrets),
        collectors=[metrics, secrets],
    )


def _running(
    pool: ThreadPool,
    database_check: DatabaseCheck,
    reconciler: Reconciler,
    secrets: StoredSecrets,
) -> Lifespan:
    @contextlib.asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncGenerator[None]:
        secrets.start()
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix="request")
        asyncio.get_running_loop().set_default_executor(threads)
        pool.open(wait=False)
        reconciler.start()
        try:
            yield
        finally:
            await asyncio.to_thread(reconciler.stop)
            await database_check.close()
            # What a request began in a thread ends first: an import notes how far it came.
            await asyncio.get_running_loop().shutdown_default_executor()
            pool.close(POOL_CLOSES_WITHIN)

    return lifespan
