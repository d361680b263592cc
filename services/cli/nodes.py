"""The gateway's nodes on the command line: `partnerapi gateway publish`, `status` and `diff`."""

import sys
import time
from pathlib import Path

import click
import msgspec

from services.admin.gateway.diff import Diff, change_lines, diff_nodes
from services.admin.gateway.publisher import publish_change
from services.admin.gateway.status import GatewayStatus, NodeStatus, ask_nodes, read_status
from services.cli.common import (
    IN_PART,
    FindEnvironment,
    admin,
    json_option,
    show_json,
    show_table,
    tell,
)
from services.policy.render import PolicyError

NOT_DONE = 1  # an exit code: kong.yml is broken; of `diff`: there are differences
NO_NODE = "KONG_ADMIN_URLS names no node"


class TroubleError(click.ClickException):
    """There is nothing to compare with."""

    exit_code = 2  # like diff(1)'s: 1 is for differences


@click.command(
    "publish",
    epilog="Exit codes: 0 every node runs it, 1 kong.yml is broken, 3 not every node runs it,"
    " 4 PostgreSQL can't be reached.",
)
@json_option
@click.pass_obj
def publish(find_environment: FindEnvironment, *, as_json: bool) -> None:
    """Have every node run kong.yml with the partners and keys of now, and tell by node.

    While an admin service runs, it does this, and within a second of a change also by itself.
    A broken kong.yml is not sent; changes of partners and keys are, with the last good one.
    """
    with admin(find_environment) as opened, opened.reading() as connection:
        began = time.monotonic()
        published = publish_change(connection, opened.settings, opened.box)
    if as_json:
        show_json(published)
    else:
        tell(published, time.monotonic() - began)
    if published.policy_error is not None:
        sys.exit(NOT_DONE)
    if not published.nodes or not published.is_complete:
        sys.exit(IN_PART)


@click.command(
    "status",
    epilog="Exit codes: 0 every node runs kong.yml with the partners and keys of now, 3 not so,"
    " 4 PostgreSQL can't be reached.",
)
@json_option
@click.pass_obj
def status(find_environment: FindEnvironment, *, as_json: bool) -> None:
    """Tell what each node runs, when it was last looked at, and what is wrong.

    Without a running admin service it asks the nodes itself.
    """
    with admin(find_environment) as opened, opened.reading() as connection:
        found = read_status(connection, opened.settings)
        if found.publisher is None:
            found = ask_nodes(connection, opened.settings, opened.box)
    if as_json:
        show_json(found)
    else:
        _tell_status(found)
    sys.exit(0 if found.current else IN_PART)


def _tell_status(found: GatewayStatus) -> None:
    if found.nodes:
        show_table(NODE_HEADINGS, [_node_cells(node) for node in found.nodes])
    else:
        click.echo(NO_NODE, err=True)
    if found.publisher is None:
        click.echo("No admin service runs; the nodes were asked from here.", err=True)
    else:
        publisher = found.publisher
        click.echo(f"published by {publisher.name}, {publisher.age_seconds:.1f} s ago")
    if found.policy_error is not None:
        click.echo("kong.yml is not what is sent:", err=True)
        click.echo(found.policy_error, err=True)


NODE_HEADINGS = ("NODE", "STATE", "HASH", "REVISION", "SEEN", "SINCE", "ERROR")


def _node_cells(node: NodeStatus) -> tuple[object, ...]:
    seen = None if node.age_seconds is None else f"{node.age_seconds:.1f} s ago"
    return node.url, node.state, node.hash, node.revision, seen, node.since, node.error


@click.command(
    "diff",
    epilog="Exit codes: 0 no difference, 1 differences, 2 wrong usage or a broken kong.yml,"
    " 3 none seen, but not every node answers, 4 PostgreSQL can't be reached.",
)
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@json_option
@click.pass_obj
def diff(find_environment: FindEnvironment, file: Path | None, *, as_json: bool) -> None:
    """Tell what a kong.yml would change on the nodes; it changes nothing and shows no key.

    FILE is a kong.yml that is not in its place yet; without it, the one that is.
    """
    with admin(find_environment) as opened, opened.reading() as connection:
        settings = opened.settings
        if file is not None:
            settings = msgspec.structs.replace(settings, gateway_policy=str(file))
        nodes = settings.nodes
        try:
            found = diff_nodes(connection, settings, opened.box)
        except PolicyError as exc:
            raise TroubleError(str(exc)) from exc
    if as_json:
        show_json(found)
    else:
        _tell_diff(found, nodes)
    if any(group.error is None for group in found.groups):
        sys.exit(NOT_DONE)
    if found.groups or not nodes:
        sys.exit(IN_PART)


def _tell_diff(found: Diff, nodes: list[str]) -> None:
    if not nodes:
        click.echo(NO_NODE, err=True)
    elif found.is_none:
        click.echo("nothing would change", err=True)
    for group in found.groups:
        names = ", ".join(group.nodes)
        if group.error is not None:
            click.echo(f"{names}  {group.error}", err=True)
            continue
        click.echo(f"{names}  runs {group.hash}, would run {found.hash}")
        for line in change_lines(group.changes):
            click.echo(f"  {line}")
        if not group.changes:
            click.echo("  another text with the same meaning, as far as it can be compared")
