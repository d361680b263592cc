"""Up: the command that starts the local stack, in the foreground or detached."""

import os
from pathlib import Path

import click

from services.local.children import StackError
from services.local.commands import state_dir_option, tell, told_in_one_line
from services.local.detach import fork_supervisor, wait_until_up
from services.local.plan import HIGHEST_BASE, POLICY, GatewayKind
from services.local.stack import Options, Stack
from services.local.state import StackRecord, StateFolder
from services.local.summary import summary

port_base_option = click.option(
    "--port-base",
    type=click.IntRange(1024, HIGHEST_BASE),
    default=8000,
    show_default=True,
    help="The gateway's port; the others follow from it.",
)


@click.command()
@state_dir_option
@port_base_option
@click.option("--detach", "detached", is_flag=True, help="Return when it is up; it keeps running.")
@click.option(
    "--gateway",
    type=click.Choice([str(kind) for kind in GatewayKind]),
    default=str(GatewayKind.EMBEDDED),
    show_default=True,
    help="The stand-in, the `kong` on PATH, or running nodes (KONG_ADMIN_URLS, BACKEND_TOKEN).",
)
@click.option(
    "--policy",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=POLICY,
    help="The gateway's policy, instead of this repository's gateway/kong.yml.",
)
def up(state_dir: Path, port_base: int, gateway: str, policy: Path, *, detached: bool) -> None:
    """Start the local stack: PostgreSQL, Valkey, the gateway and the services."""
    with told_in_one_line():
        options = _options(state_dir, port_base, GatewayKind(gateway), policy)
        if detached:
            _up_detached(options)
            return
        folder = StateFolder(options.state_dir)
        tell("Starting the local stack ...")

        def announce(record: StackRecord) -> None:
            tell(summary(record, folder, detached=False))

        Stack(options, tell).run(announce)


def _options(state_dir: Path, port_base: int, gateway: GatewayKind, policy: Path) -> Options:
    """Add what `--gateway none` needs from the environment."""
    if gateway is not GatewayKind.NONE:
        return Options(state_dir, port_base, gateway, policy)
    nodes = os.environ.get("KONG_ADMIN_URLS", "")
    if not nodes:
        msg = "--gateway none: set KONG_ADMIN_URLS to the admin addresses of the running nodes"
        raise StackError(msg)
    return Options(
        state_dir, port_base, gateway, policy, nodes, os.environ.get("BACKEND_TOKEN", "")
    )


def _up_detached(options: Options) -> None:
    folder = StateFolder(options.state_dir)
    running = folder.running()
    if running is not None:
        raise StackError(folder.told_taken())
    tell("Starting the local stack ...")
    supervisor = fork_supervisor(folder, lambda: run_quietly(options), bound=False)
    click.echo(summary(wait_until_up(folder, supervisor), folder, detached=True))


def run_quietly(options: Options) -> None:
    """Run a stack without the summary, which holds keys: this output is a log."""
    Stack(options, tell).run(lambda record: tell(f"Up ({record.seconds:.1f} s)."))
