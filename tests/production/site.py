"""Site: the whole of compose.yaml running, with partners and keys made as operations make them."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from services.core.environments import Environment
from services.local.provision import TENANTS
from services.local.state import KeyRing
from services.local.webhook_programs import SANDBOX_RETRY_DELAYS
from services.schema.seed import products, seed
from tests.production import composition
from tests.production.hosting import (
    PLAIN_PORT,
    REPOSITORY,
    Hosting,
    hosted,
)

PROFILES = frozenset({"core", "sandbox", "mail"})
INTERNAL_PORT = 8103
# What only a test may: endpoints of this machine, and retries that somebody waits for.
SANDBOX_EXTRA = {"DEVELOPMENT_TARGETS": "true", "RETRY_DELAYS_SECONDS": SANDBOX_RETRY_DELAYS}
WORKERS = ("sandbox-worker", "sandbox-slow-worker", "sandbox-scheduler")
APIS = ("sandbox-webhooks-1", "sandbox-webhooks-2")


@dataclass(frozen=True)
class Site:
    """What runs, and how partners reach it."""

    hosting: Hosting
    gateway: str
    internal: str
    keys: KeyRing
    products: list[str]  # live
    stock_url: str  # PostgreSQL, as the role that writes live stock
    mails: Path
    token: str  # of an operator


@contextlib.contextmanager
def running_site(folder: Path) -> Generator[Site]:
    """Run all services of compose.yaml for the length of a with block."""
    services = {
        name: each
        for name, each in composition.read().items()
        if each.profiles & PROFILES or not each.profiles
    }
    secrets = _secrets(folder)
    extra = dict.fromkeys(WORKERS, SANDBOX_EXTRA)
    extra |= {name: {"DEVELOPMENT_TARGETS": "true"} for name in APIS}
    with hosted(services, folder, secrets, extra) as hosting:
        network = hosting.network
        owner = network.replaced(secrets["owner-database-url"].strip())
        for environment in Environment:
            seed(owner, environment)
        load_balancer = network.of_service("load-balancer")
        token = partnerapi(
            hosting, "tokens", "create", "site", "--role", "operator", "--in-database"
        )
        yield Site(
            hosting,
            f"http://{load_balancer}:{PLAIN_PORT}",
            f"http://{load_balancer}:{INTERNAL_PORT}",
            _keys(hosting, token),
            [product_id for product_id, _ in products(Environment.LIVE)],
            network.replaced(secrets["live-stock-database-url"].strip()),
            hosting.volume("mail"),
            token,
        )


def _secrets(folder: Path) -> dict[str, str]:
    made = folder / "made"
    subprocess.run(
        [REPOSITORY / "deploy" / "make-secrets.sh", made], check=True, capture_output=True
    )
    return {each.stem: each.read_text() for each in made.glob("*.txt")}


def _keys(hosting: Hosting, token: str) -> KeyRing:
    """Make the partners of the demo, as `docker compose exec admin partnerapi ...` does."""
    for each in TENANTS:
        tier = ("--tier", each.tier, "--contact", each.contact)
        partnerapi(hosting, "partners", "create", each.name, *tier, token=token)
    return {
        each.name: {
            environment: partnerapi(
                hosting, "keys", "create", each.name, "--env", environment, token=token
            )
            for environment in Environment
        }
        for each in TENANTS
    }


def partnerapi(
    hosting: Hosting, *arguments: str, token: str | None = None, within: str = "admin"
) -> str:
    """Run a command as `docker compose exec -e ADMIN_TOKEN` does; return what it prints."""
    settings = hosting.environment(within)
    # Docker finds both admins by the name; here a command calls the one that it runs beside.
    settings["ADMIN_URL"] = f"http://{hosting.network.of_service(within)}:{settings['PORT']}"
    if token is not None:
        settings["ADMIN_TOKEN"] = token
    done = subprocess.run(
        [Path(sys.executable).parent / "partnerapi", *arguments],
        env={**os.environ, **settings},
        cwd=hosting.app,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()
