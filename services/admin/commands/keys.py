"""Keys on the command line."""

import click

from services.admin.commands.common import (
    FindEnvironment,
    admin,
    environment_option,
    publish_and_tell,
    publish_option,
)
from services.admin.operations import Operations
from services.kernel.environments import Environment


@click.group()
def keys() -> None:
    """Keys: make one, revoke one. A key is shown once."""


@keys.command("create")
@click.argument("partner")
@environment_option
@publish_option
@click.pass_obj
def create_key(
    find_environment: FindEnvironment, partner: str, environment: str, *, publish: bool
) -> None:
    """Make a key for PARTNER, show it once, and send it to the gateway.

    Standard output is the key alone, for scripts; the rest goes to standard error.
    """
    with admin(find_environment) as opened, opened.reading() as connection:
        operations = Operations(opened.settings, connection, opened.box)
        key = operations.create_key(partner, Environment(environment))
        click.echo(f"{environment} key of {partner}, shown this once (id {key.id}):", err=True)
        click.echo(key.secret)
        publish_and_tell(opened, wanted=publish)


@keys.command("revoke")
@click.argument("key")
@publish_option
@click.pass_obj
def revoke_key(find_environment: FindEnvironment, key: str, *, publish: bool) -> None:
    """Revoke KEY, named by its first 12 characters or its id. This can't be undone."""
    with admin(find_environment) as opened, opened.reading() as connection:
        operations = Operations(opened.settings, connection, opened.box)
        revoked = operations.revoke_key(key)
        click.echo(f"revoked {revoked.shown}... of {revoked.partner} ({revoked.environment})")
        publish_and_tell(opened, wanted=publish)
