"""Command line: `partnerapi`; loads the part that a command needs, and no other."""

import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

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
# Where one of these is set, the environment says all, and the local stack nothing.
WHOLE = ("ADMIN_URL", "ADMIN_TOKEN", "ADMIN_DATABASE_URL")
JSON = "--json"


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for.

    Errors of all commands take one of two forms here: a sentence, or with --json an object (A5).
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse an argument that is no text, whichever command it is for."""
        ctx.meta[JSON] = JSON in args
        with _errors_as_asked(as_json=ctx.meta[JSON]):
            _require_utf8(args)
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 -- click's signature
        """Run the command."""
        with _errors_as_asked(as_json=ctx.meta[JSON]):
            return super().invoke(ctx)

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


class JsonError(click.ClickException):
    """Any error of a command that was asked for --json."""

    def __init__(self, error: click.ClickException) -> None:
        """Take the error whose exit code it has."""
        # A command's own sentence has the request's id apart; click words its errors when asked.
        super().__init__(error.message if hasattr(error, "code") else error.format_message())
        self.exit_code = error.exit_code  # pyright: ignore[reportAttributeAccessIssue] -- click's own do so
        # Without a request there is no id, and what is wrong is in the command or its settings.
        self._code = getattr(error, "code", "INVALID_REQUEST")
        self._request_id = getattr(error, "request_id", "")

    def show(self, file: Any = None) -> None:  # noqa: ANN401 -- click's signature
        """Print the object."""
        found = {"code": self._code, "message": self.message, "request_id": self._request_id}
        click.echo(json.dumps(found, ensure_ascii=False), file=file, err=True)


@contextmanager
def _errors_as_asked(*, as_json: bool) -> Generator[None]:
    try:
        yield
    except click.ClickException as exc:
        if not as_json or isinstance(exc, JsonError):
            raise
        raise JsonError(exc) from exc


def _require_utf8(arguments: Sequence[str]) -> None:
    """Raise UsageError for bytes that are not UTF-8, which Python keeps as lone surrogates."""
    for number, argument in enumerate(arguments, start=1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            msg = f"argument {number} is not UTF-8: {os.fsencode(argument)!r}"
            raise click.UsageError(msg) from None


def _missing(name: str, package: str) -> click.Command:
    """Return a command for an installation without the extra `embedded`, as in production."""
    message = f"needs the extra `embedded` ({package} is not installed)"

    def refuse() -> None:
        msg = f"{name} {message}"
        raise click.ClickException(msg)

    return click.Command(name, callback=refuse, help=f"({message})", add_help_option=False)


def find_environment() -> Mapping[str, str]:
    """Return where admin is and its token: the environment says it, else the running local stack.

    All or nothing, so that the local stack's token never reaches another admin.
    """
    if any(is_set(name, os.environ) for name in WHOLE):
        return os.environ
    try:
        state = import_module(f"{STACK}.state")
    except ModuleNotFoundError:
        return os.environ  # production's image has no local stack
    state_dir = Path(os.environ.get("PARTNERAPI_STATE_DIR", ".stack"))
    try:
        found = state.stack_environment(state_dir)
    except state.StackError as exc:
        raise click.ClickException(str(exc)) from exc
    return {**os.environ, **(found or {})}


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(ctx: click.Context) -> None:
    """Partner Inventory Sync: the local stack, partners, keys and the gateway."""
    ctx.obj = find_environment
