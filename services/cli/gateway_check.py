"""Command: `partnerapi gateway check`, for people who edit kong.yml, and for their pipelines."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from services.core.wording import counted
from services.policy.check.checking import FaultyPolicyError, fault_lines, find_faults
from services.policy.entities import LIMIT, Policy
from services.policy.faults import Fault
from services.policy.source import read

DEFAULT = "gateway/kong.yml"

# After the command's own docstring, which is its help, as click prints it.
_EPILOG = "Exit codes: 0 no fault, 1 faults, 2 the file can't be read."


@click.command("check", epilog=_EPILOG)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(
    find_environment: Callable[[], Mapping[str, str]], file: Path | None, *, as_json: bool
) -> None:
    """Report every fault of a kong.yml, each as FILE:LINE: what is wrong.

    Without FILE it takes GATEWAY_POLICY, or gateway/kong.yml. It asks no database and no node.
    """
    if file is None:
        file = Path(find_environment().get("GATEWAY_POLICY") or DEFAULT)
    try:
        text = read_policy(file)
        faults = find_faults(text)
    except FaultyPolicyError as exc:
        text, faults = "", exc.faults
    if as_json:
        click.echo(json.dumps(_as_document(file, text, faults)))
    elif faults:
        click.echo("\n".join(fault_lines(str(file), faults)))
        click.echo(f"{counted(len(faults), 'fault')} in {file}", err=True)
    else:
        counts = ", ".join(f"{what} {count}" for what, count in _checked(text).items())
        click.echo(f"{file}: no fault; checked {counts}")
    sys.exit(1 if faults else 0)


def read_policy(file: Path) -> str:
    """Return the text of a kong.yml. Raises FaultyPolicyError if it is not UTF-8."""
    try:
        content = file.read_bytes()
    except OSError as exc:
        msg = f"{file} can't be read: {exc.strerror}"
        raise click.UsageError(msg) from exc
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        fault = Fault(line, "this is not UTF-8: save the file as UTF-8")
        raise FaultyPolicyError(str(file), [fault]) from exc


def _checked(text: str) -> dict[str, int]:
    root, _ = read(text)
    policy = Policy(root) if root else None
    if policy is None:
        return {}
    kinds = ("services", "routes", "upstreams", "targets", "consumers", "plugins")
    limits = [plugin for plugin in policy.of("plugins") if plugin.name == LIMIT]
    return {
        **{kind: len(policy.of(kind)) for kind in kinds},
        "limits": len(limits),
        "tiers": len(policy.tiers),
    }


def _as_document(file: Path, text: str, faults: Sequence[Fault]) -> dict[str, object]:
    return {
        "file": str(file),
        "faults": [{"line": line, "sentence": sentence} for line, sentence in faults],
        "checked": {} if faults else _checked(text),
    }
