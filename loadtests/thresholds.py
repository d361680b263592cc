"""Thresholds: read thresholds.toml, and say which line is wrong when one is; pure."""

import tomllib
from pathlib import Path
from typing import Any, NoReturn, cast

import msgspec

from loadtests.faults import Fault
from loadtests.plan import CouldNotRunError

THRESHOLDS = Path(__file__).parent / "thresholds.toml"
AT_LEAST = ("delivered_percent", "samples_at_least", "knee_users_at_least")
NAMES = (
    "partner_p95_ms",
    "internal_p95_ms",
    "errors",
    "outage_errors",
    "wrong_answers",
    "over_limit_extra",
    "staleness_p99_s",
    "staleness_max_s",
    "delivered_percent",
    "webhook_p95_s",
    "p95_drift_ms",
    "memory_growth_mb",
    "bad_deliveries",
    "samples_at_least",
    "knee_users_at_least",
)
TABLES = ("thresholds", "profile", "fault", "outage_s", "generator")
GENERATOR = ("cpu_percent", "lag_p95_ms")
FAULTS = tuple(str(each) for each in Fault)


class Thresholds(msgspec.Struct, frozen=True):
    """What is judged in one run."""

    limits: dict[str, float | None]  # None: shown, not judged
    step_p95_ms: float  # a step of a stress run with more is not carried
    outage_s: float
    generator: dict[str, float]


class _File:
    """The text beside what was read from it, to find lines."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        try:
            self._lines = path.read_text().splitlines()
            self.read = tomllib.loads("\n".join(self._lines))
        except OSError as exc:
            msg = f"{path}: {exc.strerror}"
            raise CouldNotRunError(msg) from exc
        except tomllib.TOMLDecodeError as exc:
            msg = f"{self.name}: {exc}"
            raise CouldNotRunError(msg) from exc

    def refuse(self, table: str, key: str, why: str) -> NoReturn:
        """Raise the error for a key of a table, with its line."""
        msg = f"{self.name}, line {self._line(table, key)}: {key} {why}"
        raise CouldNotRunError(msg)

    def table(self, *path: str) -> dict[str, Any]:
        """Return a table; an empty one if it is not there."""
        found = self.read
        for name in path:
            inner: object = found.get(name, {})
            if not isinstance(inner, dict):
                self.refuse(".".join(path[:-1]), name, "must be a table")
            found = cast("dict[str, Any]", inner)
        return found

    def _line(self, table: str, key: str) -> int:
        """Return the line of a key in its table, else of the table."""
        within, found = table == "", 0
        for number, line in enumerate(self._lines, 1):
            text = line.strip()
            if text.startswith("["):
                within = text.split("]")[0].strip("[ ") == table
                found = number if within and not found else found
            elif within and text.split("=")[0].strip().strip('"') == key:
                return number
        if found:
            return found
        starts = [n for n, line in enumerate(self._lines, 1) if line.strip().startswith("[" + key)]
        return starts[0] if starts else 1


def load_thresholds(path: Path, profile: str, fault: Fault | None, known: list[str]) -> Thresholds:
    """Return what applies to a profile with a fault. Raises CouldNotRunError with the line."""
    file = _File(path)
    _check_names(file, known)
    limits = _limits(file, "thresholds")
    for name in NAMES:
        if name not in limits:
            file.refuse("thresholds", "[thresholds]", f"lacks {name}")
    # All are read, also those of other profiles: a slip is told at once, not in a month.
    own = {each: _limits(file, "profile", each) for each in known}
    faults = {each: _limits(file, "fault", each) for each in FAULTS}
    step_p95_ms = limits["partner_p95_ms"]
    if step_p95_ms is None:
        file.refuse("thresholds", "partner_p95_ms", "must be a number here: stress needs it")
    limits |= own[profile] | (faults[fault] if fault else {})
    outages = _numbers(file, "outage_s", FAULTS)
    outage = outages[fault] if fault else 0.0
    return Thresholds(limits, step_p95_ms, outage, _numbers(file, "generator", GENERATOR))


def _check_names(file: _File, profiles: list[str]) -> None:
    for name in file.read:
        if name not in TABLES:
            file.refuse("", name, f"is no table of this file; there are {_told(TABLES)}")
    for name in ("thresholds", "outage_s", "generator"):
        if name not in file.read:
            file.refuse("", name, "is missing: it must be a table")
    for table, names in (("profile", tuple(profiles)), ("fault", FAULTS)):
        for name in file.table(table):
            if name not in names:
                file.refuse(f"{table}.{name}", name, f"is no {table}; there are {_told(names)}")


def _limits(file: _File, *path: str) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    table = ".".join(path)
    for name, value in file.table(*path).items():
        if name not in NAMES:
            file.refuse(table, name, f"is no threshold; there are {_told(NAMES)}")
        if value is not False and (isinstance(value, bool) or not _is_number(value)):
            file.refuse(table, name, f"must be a number from 0, or false, not {value!r}")
        found[name] = None if value is False else float(value)
    return found


def _numbers(file: _File, table: str, names: tuple[str, ...]) -> dict[str, float]:
    read = file.table(table)
    for name, value in read.items():
        if name not in names:
            file.refuse(table, name, f"is not known here; there are {_told(names)}")
        if isinstance(value, bool) or not _is_number(value):
            file.refuse(table, name, f"must be a number from 0, not {value!r}")
    for name in names:
        if name not in read:
            file.refuse(table, f"[{table}]", f"lacks {name}")
    return {name: float(value) for name, value in read.items()}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < float("inf")


def _told(names: tuple[str, ...]) -> str:
    return ", ".join(names)
