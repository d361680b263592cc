"""Outcome: what the gateway's nodes run after a change, on standard error, and the exit code."""

import sys
from collections.abc import Sequence

import click

from services.admin.gateway.node_sync import NodeReport
from services.cli.common import IN_PART

NO_NODE = "Not published: admin's KONG_ADMIN_URLS names no node."


def show_nodes(reports: Sequence[NodeReport]) -> None:
    """Print a line for each node; standard output is for what the command answers."""
    if not reports:
        click.echo(NO_NODE, err=True)
    for node in reports:
        state = f"{node.state}: {node.error}" if node.error else f"runs {node.hash}"
        click.echo(f"{node.url}  {state}", err=True)


def end(reports: Sequence[NodeReport] | None, *, as_json: bool) -> None:
    """Print them, and exit with code 3 when a node does not run the change.

    None: nothing changed for the gateway. With `as_json` they are in the document already.
    """
    if reports is None:
        return
    if not as_json:
        show_nodes(reports)
    if not reports or any(report.error for report in reports):
        sys.exit(IN_PART)
