"""Partners on the command line."""

import click

from services.admin.after_change import ChangedPartner
from services.admin.audit.system_user import this_actor
from services.admin.changes import Admin
from services.admin.pages import Page
from services.admin.partners.changes import (
    change_partner,
    create_partner,
    delete_partner,
    resume_partner,
    suspend_partner,
)
from services.admin.partners.rows import (
    Partner,
    PartnerFilter,
    PartnerState,
    list_partners,
    read_partner,
)
from services.cli import outcome
from services.cli.common import (
    FindEnvironment,
    admin,
    confirm,
    json_option,
    limit_option,
    publish_option,
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
    with admin(find_environment) as opened:
        tiers = opened.tiers()
        with opened.changing(this_actor()) as change:
            partner = create_partner(change, name, tier, contact, tiers=tiers)
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
    find_environment: FindEnvironment,
    *,
    search: str | None,
    tier: str | None,
    state: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List partners by name."""
    wanted = PartnerFilter(search=search, tier=tier, state=PartnerState(state) if state else None)
    with admin(find_environment) as opened, opened.reading() as connection:
        found = list_partners(connection, wanted, Page(limit))
    show_listing(found, HEADINGS, _row, as_json=as_json)


@partners.command("show")
@click.argument("name")
@json_option
@click.pass_obj
def show(find_environment: FindEnvironment, name: str, *, as_json: bool) -> None:
    """Show one partner."""
    with admin(find_environment) as opened, opened.reading() as connection:
        partner = read_partner(connection, name)
    if as_json:
        show_json(partner)
        return
    for heading, value in zip(["ID", *HEADINGS], [partner.id, *_row(partner)], strict=True):
        click.echo(f"{heading.lower():<13} {shown(value)}")


@partners.command("change")
@click.argument("name")
@click.option("--tier", help="A tier of gateway/kong.yml.")
@click.option("--contact", help="E-mail address of the technical contact.")
@publish_option
@json_option
@click.pass_obj
def change_one(
    find_environment: FindEnvironment,
    name: str,
    *,
    tier: str | None,
    contact: str | None,
    publish: bool,
    as_json: bool,
) -> None:
    """Give the partner NAME another tier or contact."""
    if tier is None and contact is None:
        msg = "say --tier, --contact or both"
        raise click.UsageError(msg)
    with admin(find_environment) as opened:
        tiers = () if tier is None else opened.tiers()
        with opened.changing(this_actor()) as change:
            partner = change_partner(change, name, tier=tier, contact=contact, tiers=tiers)
        told = f"{partner.name}: {partner.tier}, {partner.contact}"
        _finish(opened, partner, told, publish=None if tier is None else publish, as_json=as_json)


@partners.command("suspend")
@click.argument("name")
@click.option("--reason", required=True, help="Why; the audit log keeps it.")
@publish_option
@json_option
@click.pass_obj
def suspend(
    find_environment: FindEnvironment, name: str, *, reason: str, publish: bool, as_json: bool
) -> None:
    """Have every request of the partner NAME refused; `resume` undoes it."""
    with admin(find_environment) as opened:
        with opened.changing(this_actor()) as change:
            partner = suspend_partner(change, name, reason)
        _finish(opened, partner, f"suspended {partner.name}", publish=publish, as_json=as_json)


@partners.command("resume")
@click.argument("name")
@click.option("--reason", help="Why; the audit log keeps it.")
@publish_option
@json_option
@click.pass_obj
def resume(
    find_environment: FindEnvironment,
    name: str,
    *,
    reason: str | None,
    publish: bool,
    as_json: bool,
) -> None:
    """Let the partner NAME call again, with the keys that it had."""
    with admin(find_environment) as opened:
        with opened.changing(this_actor()) as change:
            partner = resume_partner(change, name, reason)
        _finish(opened, partner, f"resumed {partner.name}", publish=publish, as_json=as_json)


@partners.command("delete")
@click.argument("name")
@yes_option
@publish_option
@json_option
@click.pass_obj
def delete(
    find_environment: FindEnvironment, name: str, *, yes: bool, publish: bool, as_json: bool
) -> None:
    """Delete the partner NAME with its keys, endpoints and deliveries, live and sandbox."""
    with admin(find_environment) as opened:
        with opened.reading() as connection:
            read_partner(connection, name)
        confirm(f"Delete {name} with its keys, endpoints and deliveries?", yes=yes)
        with opened.changing(this_actor()) as change:
            partner = delete_partner(change, name)
        _finish(opened, partner, f"deleted {partner.name}", publish=publish, as_json=as_json)


def _finish(
    opened: Admin, partner: Partner, told: str, *, publish: bool | None, as_json: bool
) -> None:
    """Tell of a change that is committed, and have the gateway run it."""
    if not as_json:
        click.echo(told)
    reports = outcome.publish(opened, wanted=publish)
    if as_json:
        show_json(ChangedPartner(partner, reports))
    outcome.end(reports)


def _row(partner: Partner) -> tuple[object, ...]:
    counts = (partner.keys[Environment.LIVE], partner.keys[Environment.SANDBOX])
    return (
        partner.name, partner.tier, partner.state, *counts, partner.contact, partner.created_at
    )  # fmt: skip
