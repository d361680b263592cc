"""Commands: partners, keys and the gateway on the command line, for operations and the platform."""

import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
import psycopg

from services.admin.gateway.callers import Caller
from services.admin.gateway.check.command import DEFAULT, check
from services.admin.gateway.explain import Request, as_text, explain
from services.admin.gateway.publish import NodeReport, text_hash
from services.admin.gateway.render import PolicyError, mask
from services.admin.keys import KeyChoiceError
from services.admin.operations import AdminSettings, Operations, open_admin
from services.admin.partners import PartnerError
from services.kernel.encryption import MasterKeyError
from services.kernel.environments import Environment
from services.kernel.private_files import write_private
from services.kernel.settings import SettingsError, load_settings

# The top command hands down where settings come from: the environment, or the running local stack.
FindEnvironment = Callable[[], Mapping[str, str]]

EXPECTED = (PartnerError, KeyChoiceError, PolicyError, MasterKeyError, SettingsError)

environment_option = click.option(
    "--env",
    "environment",
    type=click.Choice([str(environment) for environment in Environment]),
    required=True,
    help="Where the key works.",
)
publish_option = click.option(
    "--publish/--no-publish",
    default=True,
    help="Send the change to the gateway at once (the default).",
)


@contextmanager
def _operations(find_environment: FindEnvironment) -> Generator[Operations]:
    """Open admin; what a person can mend ends as one line and exit code 1."""
    try:
        with open_admin(load_settings(AdminSettings, find_environment())) as operations:
            yield operations
    except EXPECTED as exc:
        raise click.ClickException(str(exc)) from exc
    except psycopg.OperationalError as exc:
        msg = f"PostgreSQL (ADMIN_DATABASE_URL): {str(exc).splitlines()[0]}"
        raise click.ClickException(msg) from exc


def _publish(operations: Operations, *, wanted: bool = True) -> None:
    """Publish and tell how it went, on standard error: the output proper is the command's."""
    if not wanted:
        click.echo("Not published: run `partnerapi gateway publish`.", err=True)
        return
    began = time.monotonic()
    reports = operations.publish()
    _tell(reports, time.monotonic() - began)
    if not reports or any(report.error for report in reports):
        sys.exit(1)


def _tell(reports: list[NodeReport], seconds: float) -> None:
    if not reports:
        click.echo("Not published: KONG_ADMIN_URLS names no node.", err=True)
    for report in reports:
        if report.error:
            click.echo(f"{report.url}  FAILED  {report.error}", err=True)
        else:
            click.echo(f"{report.url}  runs {report.hash}  ({seconds:.2f} s)", err=True)


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
    with _operations(find_environment) as operations:
        partner = operations.create_partner(name, tier, contact)
    click.echo(f"{partner.name}  {partner.tier}  {partner.contact}  {partner.id}")


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
    with _operations(find_environment) as operations:
        key = operations.create_key(partner, Environment(environment))
        click.echo(f"{environment} key of {partner}, shown this once (id {key.id}):", err=True)
        click.echo(key.secret)
        _publish(operations, wanted=publish)


@keys.command("revoke")
@click.argument("key")
@publish_option
@click.pass_obj
def revoke_key(find_environment: FindEnvironment, key: str, *, publish: bool) -> None:
    """Revoke KEY, named by its first 12 characters or its id. This can't be undone."""
    with _operations(find_environment) as operations:
        revoked = operations.revoke_key(key)
        click.echo(f"revoked {revoked.shown}... of {revoked.partner} ({revoked.environment})")
        _publish(operations, wanted=publish)


@click.group()
def gateway() -> None:
    """The gateway's configuration: kong.yml and the partners of now."""


@gateway.command("render")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write here, keys and all."
)
@click.pass_obj
def render(find_environment: FindEnvironment, output: Path | None) -> None:
    """Show what would be published, keys masked; --output writes the real ones (mode 0600)."""
    with _operations(find_environment) as operations:
        text = operations.render()
    if output is None:
        click.echo(mask(text))
        return
    write_private(output, text.encode())
    click.echo(f"{output}  {len(text.encode()):,} bytes  hash {text_hash(text)}", err=True)


@gateway.command("publish")
@click.pass_obj
def publish_command(find_environment: FindEnvironment) -> None:
    """Send the configuration of now to every node and see that each runs it."""
    with _operations(find_environment) as operations:
        _publish(operations)


gateway.add_command(check)


@gateway.command("explain")
@click.argument("path")
@environment_option
@click.option("--partner", help="Whose tier; asks the database.")
@click.option("--tier", help="A tier instead of a partner; asks no database.")
@click.option("--host", help="The Host header; by default the environment's own.")
@click.option("--method", default="GET", show_default=True, help="The request's method.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def explain_command(
    find_environment: FindEnvironment,
    *,
    path: str,
    environment: str,
    partner: str | None,
    tier: str | None,
    host: str | None,
    method: str,
    as_json: bool,
) -> None:
    """Tell the route, limit and plugins that a request for PATH meets, in Kong's order."""
    if (partner is None) == (tier is None):
        msg = "name one of --partner and --tier"
        raise click.UsageError(msg)
    if not path.startswith("/"):
        msg = "PATH begins with /, such as /partner/v1/inventory"
        raise click.UsageError(msg)
    request = Request(method.upper(), path, Environment(environment), host)
    caller = Caller(tier or "")
    if partner is not None:
        with _operations(find_environment) as operations:
            caller = operations.caller(partner, request.environment)
    file = find_environment().get("GATEWAY_POLICY") or DEFAULT
    try:
        found = explain(
            Path(file).read_text("utf-8"), file, request, caller, partner or "a partner"
        )
    except (OSError, PolicyError) as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(msgspec.json.encode(found).decode() if as_json else as_text(found))
