"""A start tells which stored secrets its master keys do not open, and refuses nothing."""

import time
from collections.abc import Iterable
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from services.admin.master_key import queries_in_use
from services.core import stored_secrets
from services.core.encryption import SecretBox, make_master_key
from services.core.environments import Environment
from services.core.stored_secrets import StoredSecrets
from services.webhooks.stored_secrets import endpoint_secrets
from tests.conftest import Database
from tests.webhook_rows import WebhookRows, connect_owner
from tools.waiting import wait_for

OLD, NEW = make_master_key(), make_master_key()


def undecryptable(secrets: StoredSecrets) -> float | None:
    """Return what the metric shows."""
    samples = [sample for metric in secrets.collect() for sample in metric.samples]
    return samples[0].value if samples else None


def looked(secrets: StoredSecrets) -> float | None:
    secrets.start()
    wait_for(lambda: undecryptable(secrets) is not None, "a look at the stored secrets")
    return undecryptable(secrets)


def store(rows: WebhookRows, keys: Iterable[str], *, state: str = "active") -> None:
    partner = rows.partner(f"partner-{time.monotonic_ns()}")
    for key in keys:
        endpoint = rows.endpoint(partner, state=state)
        rows.run(
            "UPDATE {env}.endpoints SET secret = %s WHERE id = %s",
            [SecretBox(key).seal("a secret"), endpoint],
        )


def test_each_secret_that_needs_a_missing_key_is_counted_wherever_it_stands(
    database: Database,
) -> None:
    with closing(connect_owner(database.owner_url)) as owner:
        rows = WebhookRows(owner)
        store(rows, [OLD, NEW, OLD, NEW, OLD])  # neither the oldest nor the newest needs NEW
        store(rows, [make_master_key()], state="deleted")
        rows.run(
            "UPDATE {env}.endpoints SET previous_secret = %s, previous_secret_until = now()"
            " + CASE WHEN id = (SELECT min(id::text)::uuid FROM {env}.endpoints"
            " WHERE state = 'active') THEN 1 ELSE -1 END * interval '1 hour'",
            [SecretBox(NEW).seal("the one before")],
        )
        url = database.url("sandbox_webhooks")
        for keys, missing in (
            (f"{OLD},{NEW}", 0),
            (f"{NEW},{OLD}", 0),
            (OLD, 3),
            (NEW, 3),
            (make_master_key(), 6),
        ):
            found = endpoint_secrets(url, Environment.SANDBOX, SecretBox(keys))
            with capture_logs() as logs:
                assert looked(found) == missing
                if missing:
                    wait_for(lambda: bool(logs), "the log line")
            told = [log["undecryptable"] for log in logs if log["event"] == "master_keys.missing"]
            assert told == ([missing] if missing else [])


def test_admin_looks_at_api_keys_and_at_both_environments(database: Database) -> None:
    with closing(connect_owner(database.owner_url)) as owner:
        for environment in Environment:
            store(WebhookRows(owner, environment), [NEW])
        url = database.url("admin")
        assert looked(StoredSecrets(url, SecretBox(OLD), queries_in_use())) == 2
        assert looked(StoredSecrets(url, SecretBox(f"{OLD},{NEW}"), queries_in_use())) == 0


def test_nothing_is_shown_while_the_database_is_away() -> None:
    secrets = StoredSecrets("postgresql://a:b@127.0.0.1:1/x", SecretBox(OLD), ["SELECT 1"])
    secrets.start()
    assert undecryptable(secrets) is None


def test_an_unexpected_failure_is_logged_and_the_look_is_repeated(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_secrets, "AGAIN", 0.01)
    with closing(connect_owner(database.owner_url)) as owner:
        secrets = StoredSecrets(database.owner_url, SecretBox(OLD), ["SELECT made FROM late"])
        with capture_logs() as logs:
            secrets.start()
            wait_for(lambda: len(logs) > 1, "two failures")
            assert undecryptable(secrets) is None
            owner.execute("CREATE TABLE late (made bytea)")
            wait_for(lambda: undecryptable(secrets) == 0, "a look at the stored secrets")
    assert {each["event"] for each in logs} == {"stored_secrets.look_failed"}
