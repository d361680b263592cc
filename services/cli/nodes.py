"""The gateway's nodes on the command line: `partnerapi gateway publish`, `status` and `diff`."""

import sys
import time
from pathlib import Path

import click

from services.admin.gateway.diff import Diff
from services.admin.gateway.publish_wait import Published
from services.admin.gateway.status import GatewayStatus, NodeStatus
from services.cli.common import (
    IN_PART,
    NOT_DONE,
    CommandError,
    FindEnvironment,
    admin,
    json_option,
    show_json,
    show_table,
)
from services.cli.diff_lines import change_lines
from services.cli.outcome import show_nodes

NO_NODE = "admin's KONG_ADMIN_URLS names no node"
TROUBLE = 2  # exit code of `diff`, as of diff(1): 1 is for differences


@click.command(
    "publish",
    epilog="Exit codes: 0 every node runs it, 1 kong.yml is broken, 3 not every node runs it,"
    " 4 admin can't be reached.",
)
@json_option
@click.pass_obj
def publish(find_environment: FindEnvironment, *, as_json: bool) -> None:
    """Wait until every node runs kong.yml with the partners and keys of now.

    Admin sends both by itself within a second of a change. A broken kong.yml is not sent; changes
    of partners and keys are, with the last good one.
    """
    began = time.monotonic()
    with admin(find_environment) as client:
        published = client.post(Published, "gateway", "publish")
    if as_json:
        show_json(published)
    else:
        _show_published(published, time.monotonic() - began)
    if published.policy_error is not None:
        sys.exit(NOT_DONE)
    if not published.nodes or not published.is_complete:
        sys.exit(IN_PART)


def _show_published(published: Published, seconds: float) -> None:
    show_nodes(published.nodes)
    click.echo(f"{seconds:.2f} s", err=True)
    if published.note is not None:
        click.echo(f"Note: {published.note}", err=True)
    if published.policy_error is not None:
        sent = "nothing" if published.nothing_sent else "the last good one with the keys of now"
        click.echo(f"kong.yml was not sent, but {sent}:", err=True)
        click.echo(published.policy_error, err=True)


@click.command(
    "status",
    epilog="Exit codes: 0 every node runs kong.yml with the partners and keys of now, 3 not so,"
    " 4 admin can't be reached.",
)
@json_option
@click.pass_obj
def status(find_environment: FindEnvironment, *, as_json: bool) -> None:
    """Show what each node runs, when admin last looked at it, and what is wrong."""
    with admin(find_environment) as client:
        found = client.get(GatewayStatus, "gateway")
    if as_json:
        show_json(found)
    else:
        _show_status(found)
    sys.exit(0 if found.current else IN_PART)


def _show_status(found: GatewayStatus) -> None:
    if found.nodes:
        show_table(NODE_HEADINGS, [_node_cells(node) for node in found.nodes])
    else:
        click.echo(NO_NODE, err=True)
    if found.publisher is None:
        click.echo("No admin publishes: see its log.", err=True)
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
    " 3 none seen, but not every node answers, 4 admin can't be reached.",
)
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@json_option
@click.pass_obj
def diff(find_environment: FindEnvironment, file: Path | None, *, as_json: bool) -> None:
    """Show what a kong.yml would change on the nodes; it changes nothing and shows no key.

    FILE is a kong.yml that is not in its place yet; without it, the one that is.
    """
    other = None if file is None else {"name": str(file), "policy": _read(file)}
    try:
        with admin(find_environment) as client:
            found = client.call("POST" if other else "GET", Diff, "gateway", "diff", body=other)
    except CommandError as exc:
        if exc.exit_code != NOT_DONE:
            raise
        raise CommandError(exc.code, exc.message, exc.request_id, TROUBLE) from exc
    if as_json:
        show_json(found)
    else:
        _show_diff(found)
    if any(group.error is None for group in found.groups):
        sys.exit(NOT_DONE)
    if found.groups or not found.nodes:
        sys.exit(IN_PART)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as exc:
        msg = f"{file} can't be read: {exc.strerror}"
    except UnicodeDecodeError:
        msg = f"{file} is not UTF-8: save the file as UTF-8"
    raise click.UsageError(msg)


def _show_diff(found: Diff) -> None:
    if not found.nodes:
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
