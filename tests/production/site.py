"""Site: the whole of compose.yaml running, with partners and keys made as operations make them."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Generator, Mapping
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
INTERNAL_PORT, ADMIN_API_PORT = 8103, 8100
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
        yield Site(
            hosting,
            f"http://{load_balancer}:{PLAIN_PORT}",
            f"http://{load_balancer}:{INTERNAL_PORT}",
            _keys(hosting),
            [product_id for product_id, _ in products(Environment.LIVE)],
            network.replaced(secrets["live-stock-database-url"].strip()),
            hosting.volume("mail"),
        )


def _secrets(folder: Path) -> dict[str, str]:
    made = folder / "made"
    subprocess.run(
        [REPOSITORY / "deploy" / "make-secrets.sh", made], check=True, capture_output=True
    )
    return {each.stem: each.read_text() for each in made.glob("*.txt")}


def _keys(hosting: Hosting) -> KeyRing:
    """Make the partners of the demo, as operations do it: with a token and over HTTP."""
    first = ("tokens", "create", "operations", "--role", "operator", "--in-database")
    token = _partnerapi(hosting, hosting.environment("admin"), *first)
    admin = f"http://{hosting.network.of_service('admin')}:{ADMIN_API_PORT}"
    called = {"ADMIN_URL": admin, "ADMIN_TOKEN": token}
    for each in TENANTS:
        words = (each.name, "--tier", each.tier, "--contact", each.contact)
        _partnerapi(hosting, called, "partners", "create", *words)
    return {
        each.name: {
            environment: _partnerapi(
                hosting, called, "keys", "create", each.name, "--env", environment
            )
            for environment in Environment
        }
        for each in TENANTS
    }


def _partnerapi(hosting: Hosting, settings: Mapping[str, str], *arguments: str) -> str:
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
