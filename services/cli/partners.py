"""Partners on the command line."""

import click

from services.admin.partners.rows import ChangedPartner, Partner, PartnerState
from services.cli import outcome
from services.cli.common import (
    FindEnvironment,
    admin,
    confirm,
    json_option,
    limit_option,
    show_json,
    show_listing,
    shown,
    yes_option,
)
from services.core.environments import Environment

HEADINGS = ["NAME", "TIER", "STATE", "LIVE KEYS", "SANDBOX KEYS", "CONTACT", "CREATED"]


@click.group()
def partners() -> None:
    """Partners: who may call, and at which tier."""


@partners.command("create")
@click.argument("name")
@click.option("--tier", required=True, help="A tier of gateway/kong.yml, such as standard.")
@click.option("--contact", required=True, help="E-mail address of the technical contact.")
@json_option
@click.pass_obj
def create(
    find_environment: FindEnvironment, name: str, tier: str, contact: str, *, as_json: bool
) -> None:
    """Add a partner. It can call once it has a key: `partnerapi keys create`."""
    body = {"name": name, "tier": tier, "contact": contact}
    with admin(find_environment) as client:
        partner = client.post(Partner, "partners", body=body)
    if as_json:
        show_json(partner)
    else:
        click.echo(f"{partner.name}  {partner.tier}  {partner.contact}  {partner.id}")


@partners.command("list")
@click.option("--search", help="A part of the name or of the contact.")
@click.option("--tier", help="Of this tier.")
@click.option("--state", type=click.Choice([str(state) for state in PartnerState]))
@limit_option
@json_option
@click.pass_obj
def list_all(
    find_environment: FindEnvironment, *, limit: int, as_json: bool, **search: str | None
) -> None:
    """List partners by name."""
    with admin(find_environment) as client:
        found = client.listing(Partner, "partners", limit=limit, **search)
    show_listing(found, HEADINGS, _row, as_json=as_json)


@partners.command("show")
@click.argument("name")
@json_option
@click.pass_obj
def show(find_environment: FindEnvironment, name: str, *, as_json: bool) -> None:
    """Show one partner."""
    with admin(find_environment) as client:
        partner = client.get(Partner, "partners", name)
    if as_json:
        show_json(partner)
        return
    for heading, value in zip(["ID", *HEADINGS], [partner.id, *_row(partner)], strict=True):
        click.echo(f"{heading.lower():<13} {shown(value)}")


@partners.command("change")
@click.argument("name")
@click.option("--tier", help="A tier of gateway/kong.yml.")
@click.option("--contact", help="E-mail address of the technical contact.")
@json_option
@click.pass_obj
def change_one(
    find_environment: FindEnvironment,
    name: str,
    *,
    tier: str | None,
    contact: str | None,
    as_json: bool,
) -> None:
    """Give the partner NAME another tier or contact."""
    if tier is None and contact is None:
        msg = "say --tier, --contact or both"
        raise click.UsageError(msg)
    body = {"tier": tier, "contact": contact}
    with admin(find_environment) as client:
        changed = client.call("PATCH", ChangedPartner, "partners", name, body=body)
    partner = changed.partner
    _finish(changed, f"{partner.name}: {partner.tier}, {partner.contact}", as_json=as_json)


@partners.command("suspend")
@click.argument("name")
@click.option("--reason", required=True, help="Why; the audit log keeps it.")
@json_option
@click.pass_obj
def suspend(find_environment: FindEnvironment, name: str, *, reason: str, as_json: bool) -> None:
    """Have every request of the partner NAME refused; `resume` undoes it."""
    with admin(find_environment) as client:
        changed = client.post(ChangedPartner, "partners", name, "suspend", body={"reason": reason})
    _finish(changed, f"suspended {changed.partner.name}", as_json=as_json)


@partners.command("resume")
@click.argument("name")
@click.option("--reason", help="Why; the audit log keeps it.")
@json_option
@click.pass_obj
def resume(
    find_environment: FindEnvironment, name: str, *, reason: str | None, as_json: bool
) -> None:
    """Let the partner NAME call again, with the keys that it had."""
    with admin(find_environment) as client:
        changed = client.post(ChangedPartner, "partners", name, "resume", body={"reason": reason})
    _finish(changed, f"resumed {changed.partner.name}", as_json=as_json)


@partners.command("delete")
@click.argument("name")
@yes_option
@json_option
@click.pass_obj
def delete(find_environment: FindEnvironment, name: str, *, yes: bool, as_json: bool) -> None:
    """Delete the partner NAME with its keys, endpoints and deliveries, live and sandbox."""
    with admin(find_environment) as client:
        client.get(Partner, "partners", name)
        confirm(f"Delete {name} with its keys, endpoints and deliveries?", yes=yes)
        changed = client.call("DELETE", ChangedPartner, "partners", name)
    _finish(changed, f"deleted {changed.partner.name}", as_json=as_json)


def _finish(changed: ChangedPartner, sentence: str, *, as_json: bool) -> None:
    """Print what was changed, and what the gateway runs."""
    if as_json:
        show_json(changed)
    else:
        click.echo(sentence)
    outcome.end(changed.gateway, as_json=as_json)


def _row(partner: Partner) -> tuple[object, ...]:
    counts = (partner.keys[Environment.LIVE], partner.keys[Environment.SANDBOX])
    return (
        partner.name, partner.tier, partner.state, *counts, partner.contact, partner.created_at
    )  # fmt: skip
