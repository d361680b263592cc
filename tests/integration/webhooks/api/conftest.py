"""The api of the sandbox on a database that the tests of this folder share, emptied for each."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from psycopg import sql

from services.core.environments import Environment
from services.local.postgres import RunningPostgres
from services.local.valkey import RunningValkey
from tests.conftest import ROLE_PASSWORD, TEMPLATE
from tests.webhook_rows import WebhookRows, connect_owner
from tests.webhooks_process import running_api, settings_for
from tools.query_process import QueryProcess

SHARED = "webhooks_api_shared"
WEBHOOKS = "/partner/v1/webhooks"
URL = "https://shop.example/hooks"
ENDPOINT_LIMIT = 5


@dataclass(frozen=True)
class PartnerClient:
    """A partner of its own, as the gateway passes its requests on."""

    http: httpx.Client
    id: UUID

    def register(self, url: str = URL, **more: object) -> dict[str, Any]:
        """Register a webhook for every event; return the answer."""
        events = ["inventory.updated", "inventory.low_stock", "inventory.out_of_stock"]
        answer = self.http.post(WEBHOOKS, json={"url": url, "events": events, **more})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def change(self, webhook_id: str, **fields: object) -> dict[str, Any]:
        """Change a webhook; return the answer."""
        answer = self.http.patch(f"{WEBHOOKS}/{webhook_id}", json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="session")
def shared_owner_url(postgres: RunningPostgres) -> str:
    """The owner's address of the shared database."""
    clone = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
        sql.Identifier(SHARED), sql.Identifier(TEMPLATE)
    )
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(clone)
    return postgres.url(SHARED)


@pytest.fixture(scope="session")
def api(
    shared_owner_url: str,
    postgres: RunningPostgres,
    valkey_server: RunningValkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[QueryProcess]:
    """The sandbox's api."""
    url = postgres.url(SHARED, "sandbox_webhooks", ROLE_PASSWORD)
    settings = settings_for(
        url, valkey_server.url, Environment.SANDBOX, ENDPOINT_LIMIT=ENDPOINT_LIMIT
    )
    with running_api(tmp_path_factory.mktemp("api"), settings) as running:
        yield running


@pytest.fixture
def rows(shared_owner_url: str) -> Generator[WebhookRows]:
    """The tables, without partners, webhooks and events."""
    with connect_owner(shared_owner_url) as owner:
        found = WebhookRows(owner)
        found.run("DELETE FROM {env}.partners")
        found.run("DELETE FROM {env}.events")
        yield found


@pytest.fixture
def partner(api: QueryProcess, rows: WebhookRows) -> Generator[PartnerClient]:
    """TechMart, whose answers are all held against the contract."""
    with api.client(consumer="techmart") as http:
        yield PartnerClient(http, rows.partner("techmart"))


@pytest.fixture
def rival(api: QueryProcess, rows: WebhookRows) -> Generator[PartnerClient]:
    """Another partner."""
    with api.client(consumer="rival") as http:
        yield PartnerClient(http, rows.partner("rival"))
