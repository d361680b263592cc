"""A mailer on a database of the test's own, and a mail server to hand its mails to."""

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any
from uuid import UUID

import pytest

from services.core.environments import Environment
from services.webhooks.mail.mailer import Mailer
from services.webhooks.sessions import Session, connect
from services.webhooks.words import MailKind
from tests.conftest import Database
from tests.smtp_servers import MailServer, mail_server
from tests.webhook_rows import WebhookRows, connect_owner

MakeMailer = Callable[..., Mailer]
AddMail = Callable[..., UUID]


@pytest.fixture
def rows(database: Database) -> Generator[WebhookRows]:
    with closing(connect_owner(database.owner_url)) as owner:
        yield WebhookRows(owner)


@pytest.fixture
def session(database: Database) -> Generator[Session]:
    """A connection as the mailer's own role has it."""
    with closing(connect(database.url("sandbox_webhooks"), "test", Environment.SANDBOX)) as session:
        yield session


@pytest.fixture
def server() -> Generator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def endpoint(rows: WebhookRows) -> UUID:
    return rows.endpoint(rows.partner(), url="https://hooks.techmart.example/stock")


@pytest.fixture
def add_mail(rows: WebhookRows, endpoint: UUID) -> AddMail:
    def add(kind: MailKind = MailKind.INCIDENT_OPENED) -> UUID:
        return rows.one(
            "INSERT INTO {env}.mails (kind, partner_id, endpoint_id, since, reason)"
            " SELECT %s, partner_id, id, now() - interval '1 hour', 'HTTP 500'"
            " FROM {env}.endpoints WHERE id = %s RETURNING id",
            [kind, endpoint],
        )

    return add


@pytest.fixture
def make_mailer(database: Database, server: MailServer) -> MakeMailer:
    def make(
        smtp_url: str | None = None,
        send_within: float = 10.0,
        mail_from: str = "partner-api@inventory.example",
        **more: Any,  # noqa: ANN401
    ) -> Mailer:
        return Mailer(
            database.url("sandbox_webhooks"),
            Environment.SANDBOX,
            smtp_url=smtp_url or server.url,
            mail_from=mail_from,
            poll_seconds=0.05,
            send_within=send_within,
            **more,
        )

    return make


@pytest.fixture
def mailer(make_mailer: MakeMailer) -> Mailer:
    return make_mailer()
