"""Demo: `partnerapi demo` tells what a partner meets, step by step, on a stack that really runs."""

import contextlib
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import click
import httpx

from partner_inventory import PartnerInventoryError
from services.local.children import StackError
from services.local.commands import state_dir_option, told_in_one_line
from services.local.demo_steps import STEPS, TIMEOUT, Scene, StepFailedError
from services.local.demo_webhooks import WebhookStory
from services.local.detach import fork_supervisor, wait_until_up
from services.local.interrupts import Interrupts
from services.local.plan import GatewayKind
from services.local.stack import Options
from services.local.state import Phase, StackRecord, StateFolder, database_url, mail_folder
from services.local.up import port_base_option, run_quietly


@click.command()
@state_dir_option
@port_base_option
def demo(state_dir: Path, port_base: int) -> None:
    """Show what a partner meets; starts a stack if none runs, and ends what it started."""
    good = False
    with told_in_one_line():
        Interrupts()
        folder = StateFolder(state_dir)
        with _stack(folder, port_base) as record:
            good = _perform(folder, record)
    if not good:
        sys.exit(1)


@contextlib.contextmanager
def _stack(folder: StateFolder, port_base: int) -> Generator[StackRecord]:
    """Use the stack that runs in the folder, else one that lives as long as the with block."""
    running = folder.running()
    if running is not None:
        if running.phase is not Phase.UP:
            msg = f"the stack in {folder.path} is {running.phase}; try again when it is up"
            raise StackError(msg)
        click.echo(f"Using the stack that runs in {folder.path}.")
        yield running
        return
    click.echo("Starting a stack ...")
    options = Options(folder.path, port_base, GatewayKind.EMBEDDED)
    supervisor = fork_supervisor(folder, lambda: run_quietly(options), bound=True)
    try:
        record = wait_until_up(folder, supervisor)
        click.echo(f"It is up ({record.seconds:.1f} s).")
        yield record
    finally:
        supervisor.end()
    click.echo("The stack is ended; its data stays for the next time.")


def _perform(folder: StateFolder, record: StackRecord) -> bool:
    """Play every step; say whether all did as they should."""
    found = folder.secrets()
    if "gateway" not in record.urls or found is None:
        msg = "this stack has no gateway of its own (--gateway none), and the demo needs one"
        raise StackError(msg)
    began = time.perf_counter()
    with httpx.Client(base_url=record.urls["gateway"], timeout=TIMEOUT, trust_env=False) as client:
        stock_url = database_url(record.ports["postgres"], "live_stock", found)
        scene = Scene(client, folder.keys(), stock_url, say=lambda line: click.echo(f"     {line}"))
        with contextlib.closing(WebhookStory(scene, mail_folder(folder.path))) as story:
            steps = [*STEPS, *story.steps]
            good = sum(_play(scene, number, *step) for number, step in enumerate(steps, start=1))
    took = time.perf_counter() - began
    click.echo(f"\n{good} of {len(steps)} steps did as they should ({took:.1f} s).")
    return good == len(steps)


def _play(scene: Scene, number: int, title: str, step: Callable[[Scene], None]) -> bool:
    """Play one step; say whether it did as it should."""
    click.echo(f"\n{number:>2}.  {title}")
    began = time.perf_counter()
    try:
        step(scene)
    except (StepFailedError, PartnerInventoryError) as exc:
        click.echo(f"     FAILED: {exc}")
        return False
    click.echo(f"     ok, {(time.perf_counter() - began) * 1000:,.0f} ms")
    return True
