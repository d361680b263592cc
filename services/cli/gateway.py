"""The gateway on the command line: kong.yml and the partners of now, for the platform team."""

from pathlib import Path

import click
import msgspec

from services.admin.gateway.publish import text_hash
from services.admin.partners.callers import find_caller
from services.admin.refusals import NotFoundError
from services.cli.common import FindEnvironment, admin, environment_option
from services.cli.gateway_check import DEFAULT, check, read_policy
from services.cli.nodes import diff, publish, status
from services.core.environments import Environment
from services.core.private_files import write_private
from services.policy.callers import Caller
from services.policy.explain import Request, as_text, explain
from services.policy.render import PolicyError, mask


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
    with admin(find_environment) as opened:
        text = opened.render()
    if output is None:
        click.echo(mask(text))
        return
    write_private(output, text.encode())
    click.echo(f"{output}  {len(text.encode()):,} bytes  hash {text_hash(text)}", err=True)


for command in (check, diff, publish, status):
    gateway.add_command(command)


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
        caller = _caller(find_environment, partner, request.environment)
    file = Path(find_environment().get("GATEWAY_POLICY") or DEFAULT)
    try:
        found = explain(read_policy(file), str(file), request, caller, partner or "a partner")
    except PolicyError as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(msgspec.json.encode(found).decode() if as_json else as_text(found))


def _caller(find_environment: FindEnvironment, partner: str, environment: Environment) -> Caller:
    with admin(find_environment) as opened, opened.reading() as connection:
        found = find_caller(connection, partner, environment)
        if found is None:
            msg = f"there is no partner {partner}"
            raise NotFoundError(msg)
        return found
