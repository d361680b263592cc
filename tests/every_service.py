"""Every HTTP service on the sandbox of one database, for tests that compare or attack them all."""

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg

from services.core.environments import Environment
from services.local.valkey import RunningValkey
from tests import admin_process, webhooks_process
from tests.conftest import Database
from tests.product_ids import as_csv, as_json, segment
from tests.webhook_rows import WebhookRows, connect_owner
from tools import query_process

INVENTORY = "/partner/v1/inventory"
JSON = {"Content-Type": "application/json"}
CSV = {"Content-Type": "text/csv"}

Read = Callable[[bytes], httpx.Response]
Write = Callable[[bytes, int], httpx.Response]


@dataclass(frozen=True)
class EveryService:
    """A client of each; a product's id is raw bytes, which may be no text."""

    partner: httpx.Client
    internal: httpx.Client
    webhooks: httpx.Client
    admin: httpx.Client
    owner: psycopg.Connection[Any]

    @property
    def reading(self) -> dict[str, Read]:
        """Each way to read one product over HTTP."""
        return {
            "partner GET": lambda raw: self.partner.get(f"{INVENTORY}?product_ids={segment(raw)}"),
            "partner POST": lambda raw: self.partner.post(
                INVENTORY, content=b'{"product_ids":[%b]}' % as_json(raw), headers=JSON
            ),
            "internal": lambda raw: self.internal.get(f"/api/v1/products/{segment(raw)}/stock"),
            "admin GET": lambda raw: self.admin.get(f"/sandbox/stock/{segment(raw)}"),
        }

    @property
    def writing(self) -> dict[str, Write]:
        """Each way to set one product over HTTP."""
        return {
            "sandbox PUT": lambda raw, quantity: self.webhooks.put(
                f"/partner/v1/sandbox/inventory/{segment(raw)}", json={"quantity": quantity}
            ),
            "admin PUT": lambda raw, quantity: self.admin.put(
                f"/sandbox/stock/{segment(raw)}", json={"quantity": quantity}
            ),
            "import": lambda raw, quantity: self.admin.post(
                "/sandbox/stock/import?add=true&all_or_nothing=true",
                content=as_csv(raw) + b",%d\n" % quantity,
                headers=CSV,
            ),
        }

    def stored(self) -> dict[str, int]:
        """Return what SQL finds."""
        found = self.owner.execute("SELECT product_id, quantity FROM sandbox.products")
        return dict(found.fetchall())


@contextlib.contextmanager
def every_service(
    database: Database, valkey: RunningValkey, folder: Path
) -> Generator[EveryService]:
    """Run them for the length of a with block; there are no products."""
    settings = query_process.settings_for(
        database.url("sandbox_query"), valkey.url, Environment.SANDBOX
    )
    webhooks = webhooks_process.settings_for(
        database.url("sandbox_webhooks"), valkey.url, Environment.SANDBOX
    )
    with contextlib.ExitStack() as stack:
        owner = stack.enter_context(connect_owner(database.owner_url))
        owner.execute("DELETE FROM sandbox.products")
        WebhookRows(owner).partner("techmart")
        running = [
            stack.enter_context(query_process.running_query(folder, settings)),
            stack.enter_context(query_process.running_query(folder, settings, "internal")),
            stack.enter_context(webhooks_process.running_api(folder, webhooks)),
        ]
        admin = admin_process.running_admin(folder, admin_process.settings_for(database))
        clients = [stack.enter_context(each.client(timeout=20)) for each in running]
        yield EveryService(*clients, stack.enter_context(admin).client(), owner)
