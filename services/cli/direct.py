"""Direct: the few commands that use the database themselves, inside admin's container."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import click
import psycopg

from services.admin.audit.rows import Actor
from services.admin.audit.system_user import os_user
from services.admin.changes import Admin
from services.admin.refusals import RefusedError
from services.admin.settings import AdminSettings
from services.cli.common import AWAY, CommandError, FindEnvironment
from services.core.database import connection_options
from services.core.encryption import MasterKeyError, SecretBox
from services.core.errors import ErrorCode
from services.core.external_text import ExternalTextError
from services.core.settings import SettingsError, load_settings
from services.policy.render import PolicyError

EXPECTED = (RefusedError, PolicyError, MasterKeyError, SettingsError)


@contextmanager
def database(find_environment: FindEnvironment) -> Generator[Admin]:
    """Open admin's database; what a person can mend ends as one line and exit code 1, 2 or 4."""
    try:
        settings = load_settings(AdminSettings, find_environment())
        box = SecretBox(settings.master_keys)
        # A person waits a little longer for PostgreSQL than a service, which tries again.
        options: dict[str, Any] = {**connection_options("partnerapi", None), "connect_timeout": 5}
        with psycopg.connect(settings.admin_database_url, **options) as connection:
            yield Admin(settings, box, lambda: _lent(connection))
    except EXPECTED as exc:
        raise click.ClickException(str(exc)) from exc
    except ExternalTextError as exc:
        raise click.UsageError(str(exc)) from exc
    except psycopg.OperationalError as exc:
        msg = f"PostgreSQL (ADMIN_DATABASE_URL): {str(exc).splitlines()[0]}"
        raise CommandError(ErrorCode.SERVICE_UNAVAILABLE, msg, "", AWAY) from exc


def this_actor() -> Actor:
    """Return who runs this command: `cli`, with the operating-system user beside it."""
    return Actor("cli", os_user=os_user())


@contextmanager
def _lent(connection: psycopg.Connection[Any]) -> Generator[psycopg.Connection[Any]]:
    yield connection
