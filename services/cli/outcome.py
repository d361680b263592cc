"""Outcome: what a command tells of the gateway after its change is done, and its exit code."""

import sys
import time

import click

from services.admin.after_change import publish_after
from services.admin.changes import Admin
from services.admin.gateway.publish import NodeReport
from services.cli.common import IN_PART, tell


def publish(opened: Admin, *, wanted: bool | None) -> list[NodeReport] | None:
    """Have the nodes run a change that is committed; tell on standard error what each does.

    `wanted` is False for `--no-publish`, and None when the change is none of the gateway's.
    """
    if wanted:
        began = time.monotonic()
        published = publish_after(opened)
        tell(published, time.monotonic() - began)
        return published.nodes
    if wanted is False:
        click.echo("Not published: run `partnerapi gateway publish`.", err=True)
    return None


def end(reports: list[NodeReport] | None) -> None:
    """Exit with code 3 when a node does not run the change; None: it was not to be published."""
    if reports is not None and (not reports or any(report.error for report in reports)):
        sys.exit(IN_PART)
