"""Command line: `partnerapi`; loads the part that a command needs, and no other."""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import click

from services.core.settings import is_set

# command -> where it is; loaded when it is called or listed.
COMMANDS = {
    "up": "services.local.up",
    "down": "services.local.commands",
    "status": "services.local.commands",
    "logs": "services.local.commands",
    "demo": "services.local.demo",
    "partners": "services.cli.partners",
    "keys": "services.cli.keys",
    "endpoints": "services.cli.endpoints",
    "deliveries": "services.cli.deliveries",
    "stock": "services.cli.stock",
    "audit": "services.cli.audit",
    "tokens": "services.cli.tokens",
    "secrets": "services.cli.secrets",
    "gateway": "services.cli.gateway",
    "database": "services.schema.commands",
}
STACK = "services.local"


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Return the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load a command; None if there is no such one."""
        if cmd_name not in COMMANDS:
            return None
        try:
            return getattr(import_module(COMMANDS[cmd_name]), cmd_name)
        except ModuleNotFoundError as exc:
            name = exc.name or ""
            # The production image has neither the extra's packages nor the local stack itself.
            ours = name.startswith("services") and not name.startswith(STACK)
            if not COMMANDS[cmd_name].startswith(STACK) or ours:
                raise
            return _missing(cmd_name, name or "a package")


def _missing(name: str, package: str) -> click.Command:
    """Return a command for an installation without the extra `embedded`, as in production."""
    message = f"needs the extra `embedded` ({package} is not installed)"

    def refuse() -> None:
        msg = f"{name} {message}"
        raise click.ClickException(msg)

    return click.Command(name, callback=refuse, help=f"({message})", add_help_option=False)


def find_environment() -> Mapping[str, str]:
    """Return where admin's settings come from: the environment, else the running local stack.

    All or nothing, so that the local stack's partners never reach another gateway.
    """
    if is_set("ADMIN_DATABASE_URL", os.environ):
        return os.environ
    try:
        state = import_module(f"{STACK}.state")
    except ModuleNotFoundError:
        return os.environ  # production's image has no local stack
    state_dir = Path(os.environ.get("PARTNERAPI_STATE_DIR", ".stack"))
    return {**os.environ, **(state.stack_environment(state_dir) or {})}


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(ctx: click.Context) -> None:
    """Partner Inventory Sync: the local stack, partners, keys and the gateway."""
    ctx.obj = find_environment
