"""What is rendered and sent to the gateway, as partners and keys change."""

import asyncio
import contextlib
import json
from collections.abc import Generator
from pathlib import Path

import msgspec
import psycopg
import pytest

from services.admin.audit.rows import Actor
from services.admin.changes import Admin
from services.admin.keys.changes import create_key, revoke_key
from services.admin.keys.rows import NewKey
from services.admin.partners.changes import create_partner
from services.admin.settings import AdminSettings
from services.admin.tokens.rows import Role, find_token
from services.core.encryption import SecretBox, make_master_key
from services.core.environments import Environment
from services.local.provision import ensure_keys, ensure_token
from tests.conftest import Database

POLICY = Path(__file__).parents[3] / "gateway" / "kong.yml"
CONTACT = "integration@techmart.example"
ACTOR = Actor("cli:tests")


@pytest.fixture
def settings(database: Database) -> AdminSettings:
    return AdminSettings(
        admin_database_url=database.url("admin"),
        master_keys=make_master_key(),
        gateway_policy=str(POLICY),
    )


@contextlib.contextmanager
def opened(settings: AdminSettings) -> Generator[Admin]:
    with psycopg.connect(settings.admin_database_url, autocommit=True) as connection:
        box = SecretBox(settings.master_keys)
        yield Admin(settings, box, lambda: contextlib.nullcontext(connection))


@pytest.fixture
def admin(settings: AdminSettings) -> Generator[Admin]:
    with opened(settings) as admin:
        yield admin


def partner(admin: Admin, name: str = "techmart") -> None:
    with admin.changing(ACTOR) as change:
        create_partner(change, name, "premium", CONTACT, tiers=admin.tiers())


def key(
    admin: Admin, name: str = "techmart", environment: Environment = Environment.LIVE
) -> NewKey:
    with admin.changing(ACTOR) as change:
        return create_key(change, name, environment)


def revoke(admin: Admin, name: str) -> None:
    with admin.changing(ACTOR) as change:
        revoke_key(change, name)


def keys_in(text: str) -> set[str]:
    consumers = json.loads(text)["consumers"]
    return {key["key"] for c in consumers for key in c.get("keyauth_credentials", [])}


def test_a_key_is_rendered_from_its_creation_to_its_revocation(admin: Admin) -> None:
    partner(admin)
    first, second = key(admin), key(admin)
    assert keys_in(admin.render()) == {first.secret, second.secret}
    revoke(admin, str(first.id))
    assert keys_in(admin.render()) == {second.secret}


def test_keys_are_encrypted_at_rest(admin: Admin, database: Database) -> None:
    partner(admin)
    made = key(admin)
    with psycopg.connect(database.owner_url) as connection:
        rows = connection.execute("SELECT api_keys::text, sealed FROM control.api_keys").fetchall()
    ((stored, sealed),) = rows
    assert made.secret not in stored
    assert made.secret.encode() not in sealed


def test_two_renders_of_the_same_partners_are_the_same_bytes(admin: Admin) -> None:
    for name in ("zeta", "acme"):
        partner(admin, name)
        for environment in Environment:
            key(admin, name, environment)
    assert admin.render() == admin.render()


def test_what_goes_wrong_after_a_change_is_a_report_and_no_error(settings: AdminSettings) -> None:
    node = "http://127.0.0.1:1"
    told = msgspec.structs.replace(settings, kong_admin_urls=node)

    @contextlib.contextmanager
    def broken() -> Generator[psycopg.Connection]:
        msg = "the database went away"
        raise psycopg.OperationalError(msg)
        yield

    admin = Admin(told, SecretBox(settings.master_keys), broken)
    (report,) = asyncio.run(admin.reports_after_change())
    assert report.url == node
    assert report.error == "not published yet: the database went away"


def test_the_local_stack_keeps_its_keys_while_they_work(
    settings: AdminSettings, admin: Admin
) -> None:
    given = {
        "ADMIN_DATABASE_URL": settings.admin_database_url,
        "MASTER_KEYS": settings.master_keys,
        "GATEWAY_POLICY": settings.gateway_policy,
    }
    made = ensure_keys(given, {})
    assert keys_in(admin.render()) == {key for keys in made.values() for key in keys.values()}
    assert ensure_keys(given, made) == made
    revoke(admin, made["qa"]["live"])
    again = ensure_keys(given, made)
    assert again["qa"]["live"] != made["qa"]["live"]
    assert again["techmart"] == made["techmart"]


def test_the_local_stack_has_one_token_for_its_commands_and_makes_another_when_it_is_lost(
    settings: AdminSettings, admin: Admin
) -> None:
    given = {
        "ADMIN_DATABASE_URL": settings.admin_database_url,
        "MASTER_KEYS": settings.master_keys,
        "GATEWAY_POLICY": settings.gateway_policy,
    }
    made = ensure_token(given, None)
    assert ensure_token(given, made) == made
    again = ensure_token(given, None)
    with admin.reading() as connection:
        assert find_token(connection, made) is None
        found = find_token(connection, again)
        assert found is not None
        assert (found.name, found.role) == ("local-stack", Role.OPERATOR)
