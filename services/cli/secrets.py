"""Secrets at rest on the command line: a new master key, and everything sealed with it."""

import sys

import click

from services.admin.master_key_rotation import MasterKeyRotation, RotationReport
from services.cli.common import FindEnvironment, json_option, show_json
from services.cli.direct import database, this_actor
from services.cli.progress import ProgressLine
from services.core.encryption import make_master_key
from services.core.wording import counted


@click.group()
def secrets() -> None:
    """The master key that stored keys and webhook secrets are sealed with.

    To rotate it, make a new one and restart every program with MASTER_KEYS=old,new; when all
    have it, restart them with MASTER_KEYS=new,old; then reseal. When `reseal --check` finds none
    that needs the old one, restart them with MASTER_KEYS=new.
    """


@secrets.command("new-master-key")
def new_master_key() -> None:
    """Print a new master key; nothing is changed.

    Every program must be able to decrypt with it before the first one encrypts with it.
    """
    click.echo("first, for every program: MASTER_KEYS=<the ones of now>,<this>", err=True)
    click.echo(make_master_key())


@secrets.command("reseal")
@click.option("--check", "only_check", is_flag=True, help="Change nothing, only count.")
@json_option
@click.pass_obj
def reseal(find_environment: FindEnvironment, *, only_check: bool, as_json: bool) -> None:
    """Seal every stored secret with the first of MASTER_KEYS, while services run.

    It uses the database itself: run it inside admin's container. It can be broken off and run
    again. Exit code 0: none needs an older key any more; 1: some do.
    """
    with database(find_environment) as opened:
        run = MasterKeyRotation(opened, progress=ProgressLine("secrets"))
        report = run.check() if only_check else run.rotate(this_actor())
        if report.older and not only_check:
            # They changed meanwhile, perhaps sealed with the newest key: look again.
            again = run.check()
            again.resealed, again.newest = report.resealed, again.newest - report.resealed
            report = again
    if as_json:
        show_json(report)
    else:
        _show(report)
    sys.exit(1 if report.needs_older_keys else 0)


def _show(report: RotationReport) -> None:
    for each in report.unopened_named:
        use = "" if each.in_use else ", not in use"
        click.echo(
            f"no key of MASTER_KEYS opens: {each.place} {each.id}, {each.partner}{use}", err=True
        )
    if report.unopened > len(report.unopened_named):
        click.echo(f"... {report.unopened - len(report.unopened_named):,} more", err=True)
    click.echo(
        f"{counted(report.total, 'secret')}: {report.resealed:,} resealed,"
        f" {report.newest:,} sealed with the newest key already,"
        f" {report.older:,} with an older one, {report.unopened:,} that no key opens"
    )
    if report.needs_older_keys:
        click.echo("keep the older keys in MASTER_KEYS", err=True)
    else:
        click.echo("the older keys can be taken out of MASTER_KEYS", err=True)
