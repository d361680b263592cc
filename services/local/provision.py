"""Provision: the stack's secrets, database, partners with their keys, and the gateway's policy."""

import contextlib
import secrets
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from services.admin.audit.rows import Actor
from services.admin.audit.system_user import os_user
from services.admin.changes import Admin, Change
from services.admin.gateway.node_sync import NodeState
from services.admin.gateway.publish_wait import (
    Published,
    is_published,
    observe,
    publish_target,
    published_of,
)
from services.admin.gateway.store import read_clock
from services.admin.keys.changes import create_key
from services.admin.keys.rows import KeyState, find_key
from services.admin.partners.changes import create_partner
from services.admin.partners.rows import find_partner
from services.admin.refusals import NotFoundError, RefusedError
from services.admin.settings import AdminSettings
from services.admin.tokens.rows import Role, create_token, find_token, revoke_token
from services.core.database import connection_options
from services.core.encryption import MasterKeyError, SecretBox, make_master_key
from services.core.environments import Environment
from services.core.settings import load_settings
from services.local.children import StackError
from services.local.state import KeyRing, Secrets, StateFolder
from services.policy.render import PolicyError
from services.schema.migrate import ROLES, migrate, set_role_password
from services.schema.seed import seed


@dataclass(frozen=True)
class Tenant:
    """A partner that every local stack has."""

    name: str
    tier: str
    contact: str


TECHMART = Tenant("techmart", "premium", "integration@techmart.example")
DEMO_BASIC = Tenant("demo-basic", "basic", "demo@inventory.example")  # to see its limit being hit
QA = Tenant("qa", "qa", "qa@inventory.example")  # for load tests
TENANTS = (TECHMART, DEMO_BASIC, QA)
OWN_COMMANDS = "local-stack"  # the name of their token


def ensure_secrets(folder: StateFolder) -> Secrets:
    """Return the folder's secrets, made first if it is new. Raises StackError."""
    found = folder.secrets()
    if found is None and (folder.path / "postgres" / "data" / "PG_VERSION").exists():
        lost = f"{folder.path}/secrets.json is missing, and what is stored can't be read without it"
        msg = f"{lost}: remove {folder.path} to start afresh"
        raise StackError(msg)
    made = found or Secrets(make_master_key(), secrets.token_urlsafe(32), {})
    absent = {role: secrets.token_urlsafe(24) for role in ROLES if role not in made.passwords}
    if found is None or absent:
        made = msgspec.structs.replace(made, passwords={**made.passwords, **absent})
        folder.write_secrets(made)
    return made


def prepare_database(owner_url: str, found: Secrets) -> datetime:
    """Bring a database to this release's schema, passwords and products; again is harmless.

    Returns its time.
    """
    with _in_words():
        migrate(owner_url)
        for role, password in found.passwords.items():
            set_role_password(owner_url, role, password)
        for environment in Environment:
            seed(owner_url, environment)
        with psycopg.connect(owner_url) as connection:
            return read_clock(connection)


def ensure_keys(admin: Mapping[str, str], known: KeyRing) -> KeyRing:
    """Return a working key of each tenant and environment; makes what is missing."""
    with _in_words(), _open(admin) as opened, opened.changing(_actor()) as change:
        for each in TENANTS:
            if find_partner(change.connection, each.name) is None:
                tiers = opened.tiers()
                create_partner(change, each.name, each.tier, each.contact, tiers=tiers)
        return {
            tenant.name: {
                environment: _ensure_key(
                    change,
                    tenant.name,
                    environment,
                    known.get(tenant.name, {}).get(environment, ""),
                )
                for environment in Environment
            }
            for tenant in TENANTS
        }


def _ensure_key(change: Change, partner: str, environment: Environment, known: str) -> str:
    """Return the known key if it still works, else a new one."""
    with contextlib.suppress(NotFoundError):
        if known and find_key(change.connection, known).state == KeyState.WORKING:
            return known
    return create_key(change, partner, environment).secret


def ensure_token(admin: Mapping[str, str], known: str | None) -> str:
    """Return an operator's token for this stack's own commands: the known one while it works."""
    with _in_words(), _open(admin) as opened, opened.changing(_actor()) as change:
        if known and find_token(change.connection, known):
            return known
        with contextlib.suppress(NotFoundError):  # the folder has lost it
            revoke_token(change, OWN_COMMANDS)
        return create_token(change, OWN_COMMANDS, Role.OPERATOR)[1]


def wait_until_published(
    admin: Mapping[str, str],
    since: datetime,
    wait_until: Callable[[Callable[[], str]], None],
) -> None:
    """Return when the gateway runs the policy with the partners of now. Raises StackError.

    What an admin did before `since`, by PostgreSQL's clock, was a run before this one.
    """
    with _in_words(), _open(admin) as opened, opened.reading() as connection:
        settings = opened.settings
        target = publish_target(connection, settings, since)

        def fault() -> str:
            observed = observe(connection, settings.nodes)
            if not is_published(observed, settings.nodes, target):
                return "the gateway did not get its policy"
            return _policy_fault(published_of(observed, settings, target))

        wait_until(fault)


def _policy_fault(published: Published) -> str:
    """Return what is missing still, empty if nothing is. Raises StackError for what stays so."""
    if published.policy_error is not None:
        raise StackError(published.policy_error)
    for report in published.nodes:
        if report.state is NodeState.REFUSING:
            msg = f"the gateway at {report.url} does not take the policy: {report.error}"
            raise StackError(msg)
    faults = [f"{report.url}: {report.error}" for report in published.nodes if report.error]
    return "; ".join(faults)


def _actor() -> Actor:
    return Actor("cli", os_user=os_user())


@contextlib.contextmanager
def _open(admin: Mapping[str, str]) -> Generator[Admin]:
    settings = load_settings(AdminSettings, admin)
    box = SecretBox(settings.master_keys)
    options: dict[str, Any] = {**connection_options("partnerapi", None), "connect_timeout": 5}
    with psycopg.connect(settings.admin_database_url, **options) as connection:
        yield Admin(settings, box, lambda: contextlib.nullcontext(connection))


@contextlib.contextmanager
def _in_words() -> Generator[None]:
    """Turn what can go wrong here into one line."""
    try:
        yield
    except (PolicyError, RefusedError) as exc:
        raise StackError(str(exc)) from exc
    except MasterKeyError as exc:
        msg = f"{exc}; or remove the state folder to start afresh"
        raise StackError(msg) from exc
    except psycopg.Error as exc:
        msg = f"PostgreSQL: {str(exc).splitlines()[0]}"
        raise StackError(msg) from exc
