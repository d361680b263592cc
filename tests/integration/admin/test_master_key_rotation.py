"""The rotation of the master key: everything stored is sealed anew, and opens all the while."""

import json
from collections.abc import Generator, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from services.admin import master_key_rotation
from services.admin.audit.rows import Actor
from services.admin.changes import Admin
from services.admin.gateway.consumers import read_consumers
from services.admin.master_key_rotation import PLACES, MasterKeyRotation, batches, write
from services.admin.settings import AdminSettings
from services.core.encryption import SecretBox, make_master_key
from services.core.environments import Environment
from services.core.settings import load_settings
from tests.admin_process import CommandLine, settings_for
from tests.conftest import Database

OLD, NEW, LOST = make_master_key(), make_master_key(), make_master_key()
PARTNER = UUID("00000000-0000-4000-8000-000000000001")

Owner = psycopg.Connection[Any]


@pytest.fixture
def owner(database: Database) -> Generator[Owner]:
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def stored(owner: Owner) -> dict[UUID, str]:
    """Store a partner's keys and webhooks, sealed with the old key; secrets by id."""
    owner.execute(
        "INSERT INTO control.partners (id, name, tier, contact)"
        " VALUES (%s, 'techmart', 'premium', 'ops@techmart.example')", [PARTNER],
    )  # fmt: skip
    secrets: dict[UUID, str] = {}
    for number in range(7):
        environment = list(Environment)[number % 2]
        secrets |= key(owner, environment, f"{environment.key_prefix}{number}")
    for environment in Environment:
        owner.execute(
            f"INSERT INTO {environment}.partners VALUES"
            " (%s, 'techmart', 'ops@techmart.example', 'active')", [PARTNER],
        )  # fmt: skip
        for number in range(3):
            secrets |= endpoint(owner, environment, f"whsec_{environment}_{number}")
    return secrets


def key(owner: Owner, environment: Environment, secret: str, master: str = OLD) -> dict[UUID, str]:
    key_id = uuid4()
    owner.execute(
        "INSERT INTO control.api_keys (id, partner_id, environment, shown, fingerprint, sealed)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        [key_id, PARTNER, environment, secret[:12], secret, SecretBox(master).seal(secret)],
    )
    return {key_id: secret}


def endpoint(owner: Owner, environment: Environment, secret: str) -> dict[UUID, str]:
    box = SecretBox(OLD)
    rows = owner.execute(
        f"INSERT INTO {environment}.endpoints"
        " (partner_id, url, events, secret, previous_secret, previous_secret_until)"
        " VALUES (%s, %s, '{inventory.updated}', %s, %s, now() + interval '1 hour') RETURNING id",
        [PARTNER, f"https://x/{secret}", box.seal(secret), box.seal(f"{secret} before")],
    ).fetchall()
    return {rows[0][0]: secret}


def opened_with(owner: Owner, master_keys: str) -> dict[UUID, str]:
    """Return every secret by id, opened as services open them; previous ones must open too."""
    box = SecretBox(master_keys)
    found = {
        row[0]: box.open(row[1]) for row in owner.execute("SELECT id, sealed FROM control.api_keys")
    }
    for environment in Environment:
        rows = owner.execute(f"SELECT id, secret, previous_secret FROM {environment}.endpoints")
        for endpoint_id, secret, previous in rows:
            found[endpoint_id] = box.open(secret)
            assert box.open(previous) == f"{found[endpoint_id]} before"
    return found


def with_keys(database: Database, master_keys: str) -> CommandLine:
    return CommandLine(settings_for(database, MASTER_KEYS=master_keys))


def opened(database: Database, connection: Owner, master_keys: str) -> Admin:
    settings = load_settings(AdminSettings, settings_for(database, MASTER_KEYS=master_keys))

    class Lent:
        def __enter__(self) -> Owner:
            return connection

        def __exit__(self, *_: object) -> None:
            pass

    return Admin(settings, SecretBox(master_keys), Lent)


def noted(owner: Owner) -> list[dict[str, Any]]:
    rows = owner.execute("SELECT after FROM control.audit WHERE action = 'secrets.resealed'")
    return [row[0] for row in rows]


def test_the_whole_rotation_and_everything_opens_after_each_step(
    database: Database, owner: Owner, stored: dict[UUID, str]
) -> None:
    made = with_keys(database, OLD)("secrets new-master-key")
    assert "MASTER_KEYS=<the ones of now>,<this>" in made.stderr
    new = made.stdout.strip()
    assert opened_with(owner, f"{OLD},{new}") == stored
    both = f"{new},{OLD}"
    assert opened_with(owner, both) == stored
    assert with_keys(database, both)("secrets reseal --check").exit_code == 1
    assert opened_with(owner, OLD) == stored  # looking changed nothing
    report = with_keys(database, both).json("secrets reseal")
    assert (report["total"], report["resealed"], report["older"]) == (19, 19, 0)
    assert opened_with(owner, both) == stored
    assert with_keys(database, new)("secrets reseal --check").exit_code == 0
    assert opened_with(owner, new) == stored
    [end] = noted(owner)
    assert (end["resealed"], end["unopened"]) == (19, 0)
    began = owner.execute("SELECT id::text FROM control.audit WHERE action LIKE '%reseal_began'")
    assert began.fetchall() == [(end["began"],)]


def test_what_the_gateway_runs_is_the_same_and_nobody_publishes(
    database: Database, owner: Owner, stored: dict[UUID, str]
) -> None:
    revision = "SELECT revision FROM control.gateway_revision"
    before = owner.execute(revision).fetchall()
    rendered = read_consumers(owner, SecretBox(OLD))
    owner.execute("LISTEN control_gateway")
    assert with_keys(database, f"{NEW},{OLD}")("secrets reseal").exit_code == 0
    assert list(owner.notifies(timeout=0.1)) == []
    assert owner.execute(revision).fetchall() == before
    assert read_consumers(owner, SecretBox(NEW)) == rendered
    assert len(rendered) == 2


def test_a_second_run_finds_nothing_to_do(
    database: Database, owner: Owner, stored: dict[UUID, str]
) -> None:
    run = with_keys(database, f"{NEW},{OLD}")
    run("secrets reseal")
    sealed = owner.execute("SELECT id, sealed FROM control.api_keys ORDER BY id").fetchall()
    report = run.json("secrets reseal")
    assert (report["newest"], report["resealed"]) == (19, 0)
    assert owner.execute("SELECT id, sealed FROM control.api_keys ORDER BY id").fetchall() == sealed
    assert len(noted(owner)) == 1


def test_a_secret_that_changed_meanwhile_is_not_overwritten(
    database: Database, owner: Owner, stored: dict[UUID, str]
) -> None:
    place = next(place for place in PLACES if place.name == "live webhook secret")
    [rows] = batches(owner, place)
    rotated = SecretBox(OLD).seal("whsec_of_the_partner")
    owner.execute("UPDATE live.endpoints SET secret = %s WHERE id = %s", [rotated, rows[0].id])
    box = SecretBox(f"{NEW},{OLD}")
    assert [write(owner, place, row, box) for row in rows] == [False, True, True]
    found = owner.execute("SELECT secret FROM live.endpoints WHERE id = %s", [rows[0].id])
    assert found.fetchall() == [(rotated,)]


def test_what_changed_meanwhile_with_the_old_key_is_told_as_still_needing_it(
    database: Database, owner: Owner, stored: dict[UUID, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that was not started anew goes on sealing with the old key."""

    def overtaken(connection: Owner, place: master_key_rotation.Place) -> Iterator[Any]:
        for batch in batches(connection, place):
            if place.name == "api key":
                other = SecretBox(OLD).seal(stored[batch[0].id])
                owner.execute(
                    "UPDATE control.api_keys SET sealed = %s WHERE id = %s AND sealed = %s",
                    [other, batch[0].id, batch[0].sealed],
                )
            yield batch

    monkeypatch.setattr(master_key_rotation, "batches", overtaken)
    result = with_keys(database, f"{NEW},{OLD}")("secrets reseal")
    assert (result.exit_code, "1 with an older one" in result.stdout) == (1, True), result.output
    assert "keep the older keys" in result.stderr
    monkeypatch.undo()
    assert with_keys(database, f"{NEW},{OLD}")("secrets reseal").exit_code == 0
    assert opened_with(owner, NEW) == stored


def test_a_secret_that_no_key_opens_is_named_and_the_others_are_sealed(
    database: Database, owner: Owner, stored: dict[UUID, str]
) -> None:
    [lost] = key(owner, Environment.LIVE, "pk_live_lost", LOST)
    [revoked] = key(owner, Environment.LIVE, "pk_live_gone", LOST)
    owner.execute("UPDATE control.api_keys SET revoked_at = now() WHERE id = %s", [revoked])
    result = with_keys(database, f"{NEW},{OLD}")("secrets reseal")
    assert result.exit_code == 1
    assert f"api key {lost}, techmart\n" in result.stderr
    assert f"api key {revoked}, techmart, not in use\n" in result.stderr
    assert "19 resealed" in result.stdout
    assert "2 that no key opens" in result.stdout
    owner.execute("DELETE FROM control.api_keys WHERE id = %s", [lost])
    assert with_keys(database, NEW)("secrets reseal --check").exit_code == 0
    owner.execute("DELETE FROM control.api_keys WHERE id = %s", [revoked])
    assert opened_with(owner, NEW) == stored


def test_with_the_wrong_keys_nothing_is_changed(
    database: Database, owner: Owner, stored: dict[UUID, str]
) -> None:
    result = with_keys(database, NEW)("secrets reseal --json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert (report["unopened"], report["unopened_in_use"], report["resealed"]) == (19, 19, 0)
    assert {each["partner"] for each in report["unopened_named"]} == {"techmart"}
    assert opened_with(owner, OLD) == stored
    assert noted(owner) == []


def test_a_run_that_breaks_off_is_noted_and_the_next_one_does_the_rest(
    database: Database, owner: Owner, stored: dict[UUID, str]
) -> None:
    def stop_after_the_keys(done: int, total: int) -> None:
        if done >= 7:
            raise KeyboardInterrupt

    admin = opened(database, owner, f"{NEW},{OLD}")
    with pytest.raises(KeyboardInterrupt):
        MasterKeyRotation(admin, progress=stop_after_the_keys).rotate(Actor("cli:tests"))
    assert [each["resealed"] for each in noted(owner)] == [7]
    assert opened_with(owner, f"{NEW},{OLD}") == stored
    report = with_keys(database, f"{NEW},{OLD}").json("secrets reseal")
    assert (report["resealed"], report["newest"]) == (12, 7)


def test_no_secret_and_no_master_key_is_printed_or_noted(
    database: Database, owner: Owner, stored: dict[UUID, str]
) -> None:
    key(owner, Environment.LIVE, "pk_live_lost", LOST)
    both = f"{NEW},{OLD}"
    told = with_keys(database, both)("secrets reseal").output
    told += with_keys(database, both)("secrets reseal --json").output
    told += str(owner.execute("SELECT audit::text FROM control.audit").fetchall())
    for secret in (NEW, OLD, "pk_live_lost", *stored.values()):
        assert secret not in told
