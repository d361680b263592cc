"""Tokens on the command line: who may call admin's HTTP API, as this command line does."""

from collections.abc import Iterator, Sequence

import click

from services.admin.pages import Listing
from services.admin.tokens.rows import MadeToken, Role, Token, create_token
from services.cli.common import (
    FindEnvironment,
    admin,
    confirm,
    json_option,
    show_json,
    show_listing,
    yes_option,
)


@click.group()
def tokens() -> None:
    """Tokens: who may call admin's HTTP API. A token is shown once."""


@tokens.command("create")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([str(role) for role in Role]),
    required=True,
    help="An operator changes things, a viewer looks.",
)
@click.option(
    "--in-database",
    is_flag=True,
    help="Make the first token, inside admin's container: while there is none to call admin with.",
)
@json_option
@click.pass_obj
def create(
    find_environment: FindEnvironment, name: str, role: str, *, in_database: bool, as_json: bool
) -> None:
    """Make a token called NAME; standard output is the token alone, for scripts.

    It ends with the token that makes it (ADMIN_TOKEN); one of --in-database ends when it is
    revoked.
    """
    if in_database:
        made = _create_in_database(find_environment, name, Role(role))
    else:
        with admin(find_environment) as client:
            made = client.post(MadeToken, "tokens", body={"name": name, "role": role})
    if as_json:
        show_json(made)
        return
    click.echo(f"{role} token {name}, shown this once:", err=True)
    click.echo(made.secret)


def _create_in_database(find_environment: FindEnvironment, name: str, role: Role) -> MadeToken:
    from services.cli.direct import database, this_actor  # noqa: PLC0415 -- no other part needs it

    with database(find_environment) as opened, opened.changing(this_actor()) as change:
        return MadeToken(*create_token(change, name, role))


@tokens.command("list")
@json_option
@click.pass_obj
def list_all(find_environment: FindEnvironment, *, as_json: bool) -> None:
    """List the tokens that work."""
    with admin(find_environment) as client:
        found = client.get(Listing[Token], "tokens")
    show_listing(found, ["NAME", "ROLE", "CREATED", "MADE BY"], _row, as_json=as_json)


@tokens.command("revoke")
@click.argument("name")
@yes_option
@click.pass_obj
def revoke(find_environment: FindEnvironment, name: str, *, yes: bool) -> None:
    """Make the token called NAME invalid, and those that it made, from their next request on."""
    confirm(f"Revoke the token {name}, and those that it made?", yes=yes)
    with admin(find_environment) as client:
        ending = _with_made(client.get(Listing[Token], "tokens").items, name)
        printed = [_ending_line(each, name) for each in ending]
        client.call("DELETE", type(None), "tokens", name)
    for line in printed:
        click.echo(line)


def _with_made(found: Sequence[Token], name: str) -> Iterator[Token]:
    """Yield the token of a name, and then those that it made, and what they made."""
    yield from (token for token in found if token.name == name)
    for token in found:
        if token.made_by == name:
            yield from _with_made(found, token.name)


def _ending_line(token: Token, name: str) -> str:
    made = "" if token.name == name else f", made by {token.made_by}"
    return f"revoked {token.name} ({token.role}){made}"


def _row(token: Token) -> tuple[object, ...]:
    return (token.name, token.role, token.created_at, token.made_by)
