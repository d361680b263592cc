"""Tokens on the command line: who may call admin's HTTP API."""

import click

from services.admin.audit.system_user import this_actor
from services.admin.tokens.rows import Role, create_token, list_tokens, revoke_token
from services.cli.common import (
    FindEnvironment,
    admin,
    confirm,
    json_option,
    show_json,
    show_table,
    yes_option,
)


@click.group()
def tokens() -> None:
    """Tokens: who may call admin's HTTP API. A token is shown once."""


@tokens.command("create")
@click.argument("name")
@click.option("--role", type=click.Choice([str(role) for role in Role]), required=True)
@click.pass_obj
def create(find_environment: FindEnvironment, name: str, role: str) -> None:
    """Make a token called NAME; standard output is the token alone, for scripts."""
    with admin(find_environment) as opened, opened.changing(this_actor()) as change:
        _, secret = create_token(change, name, Role(role))
    click.echo(f"{role} token {name}, shown this once:", err=True)
    click.echo(secret)


@tokens.command("list")
@json_option
@click.pass_obj
def list_all(find_environment: FindEnvironment, *, as_json: bool) -> None:
    """List the tokens that work."""
    with admin(find_environment) as opened, opened.reading() as connection:
        found = list_tokens(connection)
    if as_json:
        show_json({"items": found, "next_cursor": None})
    else:
        rows = [(each.name, each.role, each.created_at, each.made_by) for each in found]
        show_table(["NAME", "ROLE", "CREATED", "MADE BY"], rows)


@tokens.command("revoke")
@click.argument("name")
@yes_option
@click.pass_obj
def revoke(find_environment: FindEnvironment, name: str, *, yes: bool) -> None:
    """Make the token called NAME invalid, and those that it made, from their next request on."""
    confirm(f"Revoke the token {name}, and those that it made?", yes=yes)
    with admin(find_environment) as opened, opened.changing(this_actor()) as change:
        named, made = revoke_token(change, name)
    click.echo(f"revoked {named.name} ({named.role})")
    for each in made:
        click.echo(f"revoked {each.name} ({each.role}), made by {each.made_by}")
