"""Documented: what docs/metrics.md says of each metric, and what a program shows besides."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
HTTP = ("partner", "internal", "api", "admin")
PROGRAMS = (*HTTP, "relay", "scheduler", "worker", "slow-worker")
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Documented:
    """A row of a table of metrics."""

    name: str
    kind: str
    labels: dict[str, frozenset[str]]  # the values of each; empty: they are told elsewhere
    programs: frozenset[str]


@cache
def metrics() -> dict[str, Documented]:
    """Return all metrics of the page by their names."""
    return {row[0].strip("`"): _metric(row) for row in _rows(columns=6)}


@cache
def routes() -> dict[str, frozenset[str]]:
    """Return the values of `route` for each program that speaks HTTP."""
    rows = [(_CODE.findall(row[0]), _CODE.findall(row[1])) for row in _rows(columns=2)]
    return {
        program: frozenset(
            route for programs, told in rows if program in programs for route in told
        )
        for program in HTTP
    }


def faults(
    shown: str, programs: Collection[str], *, nodes: Collection[str] = (), whole: bool = True
) -> list[str]:
    """Return what differs between the page and the /metrics of a process with these programs.

    `nodes` are the gateway's nodes; `whole` asks for every documented metric, too.
    """
    families = {_name(each): each for each in text_string_to_metric_families(shown)}
    found = [
        fault
        for name, family in families.items()
        for fault in _faults_of(name, family, programs, nodes)
    ]
    if whole:
        with_samples = {name for name, family in families.items() if family.samples}
        expected = {n for n, each in metrics().items() if each.programs & set(programs)}
        found += [f"{name}: documented and not shown" for name in sorted(expected - with_samples)]
    return found


def _faults_of(
    name: str, family: Metric, programs: Collection[str], nodes: Collection[str]
) -> Iterator[str]:
    told = metrics().get(name)
    if told is None or not told.programs & set(programs):
        yield f"{name}: shown and not documented for {', '.join(programs)}"
        return
    if family.type != told.kind:
        yield f"{name}: a {family.type}, documented as a {told.kind}"
    for sample in family.samples:
        labels = {label: value for label, value in sample.labels.items() if label != "le"}
        if labels.keys() != told.labels.keys():
            yield f"{name}: has the labels {sorted(labels)}"
        for label, value in labels.items():
            if value not in _allowed(told, label, programs, nodes):
                yield f"{name}: {label}={value!r} is not in its documented set"


def _allowed(
    told: Documented, label: str, programs: Collection[str], nodes: Collection[str]
) -> Collection[str]:
    if label == "route":
        return {route for program in programs for route in routes().get(program, ())}
    return nodes if label == "node" else told.labels.get(label, ())


def _name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _metric(row: list[str]) -> Documented:
    name, kind, labels, _unit, programs, _use = row
    told: dict[str, frozenset[str]] = {}
    for each in filter(None, labels.split(";")):
        label, _, values = each.partition(":")
        told[label.strip().strip("`")] = frozenset(_CODE.findall(values))
    shown_by = PROGRAMS if programs.strip() == "all" else _CODE.findall(programs)
    return Documented(name.strip("`"), kind, told, frozenset(shown_by))


def _rows(columns: int) -> Iterator[list[str]]:
    """Yield the rows of tables with so many columns, without their heads."""
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("| `") and len(cells) == columns:
            yield cells
