"""Partners on the command line."""

import click

from services.admin.commands.common import (
    FindEnvironment,
    admin,
)
from services.admin.operations import Operations


@click.group()
def partners() -> None:
    """Partners: who may call, and at which tier."""


@partners.command("create")
@click.argument("name")
@click.option("--tier", required=True, help="A tier of gateway/kong.yml, such as standard.")
@click.option("--contact", required=True, help="E-mail address of the technical contact.")
@click.pass_obj
def create_partner(find_environment: FindEnvironment, name: str, tier: str, contact: str) -> None:
    """Add a partner. It can call once it has a key: `partnerapi keys create`."""
    with admin(find_environment) as opened, opened.reading() as connection:
        operations = Operations(opened.settings, connection, opened.box)
        partner = operations.create_partner(name, tier, contact)
    click.echo(f"{partner.name}  {partner.tier}  {partner.contact}  {partner.id}")
