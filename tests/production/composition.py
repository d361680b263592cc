"""Composition: compose.yaml as its services: commands, environment, users, order; pure."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
COMPOSE = REPOSITORY / "compose.yaml"
SECRETS = "/run/secrets/"  # where a container finds them, each under its name
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Service:
    """One service of the file, as far as a process of it goes."""

    name: str
    image: str
    command: tuple[str, ...]
    environment: dict[str, str]
    user: str
    secrets: tuple[str, ...]
    aliases: tuple[str, ...]  # names that others find it by, besides its own
    after: dict[str, str]  # service -> condition
    health: tuple[str, ...]  # a command that exits with 0
    stop_signal: str
    grace: float  # seconds from the stop signal to SIGKILL
    profiles: frozenset[str]


def read(path: Path = COMPOSE) -> dict[str, Service]:
    """Return every service of a compose file by its name."""
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return {name: _service(name, found) for name, found in document["services"].items()}


def _service(name: str, found: Mapping[str, Any]) -> Service:
    after = found.get("depends_on", {})
    if isinstance(after, list):
        after = {other: {"condition": "service_started"} for other in after}
    return Service(
        name,
        str(found.get("image", "")),
        _words(found.get("command", ())),
        _environment(found.get("environment", {})),
        str(found.get("user", "")),
        tuple(
            each if isinstance(each, str) else each["source"] for each in found.get("secrets", ())
        ),
        tuple(_aliases(found.get("networks", ()))),
        {other: told["condition"] for other, told in after.items()},
        _health(found.get("healthcheck", {})),
        str(found.get("stop_signal", "SIGTERM")),
        seconds(str(found.get("stop_grace_period", "10s"))),
        frozenset(found.get("profiles", ())),
    )


def _words(command: Any) -> tuple[str, ...]:  # noqa: ANN401 -- YAML
    return tuple(shlex.split(command) if isinstance(command, str) else map(str, command))


def _environment(found: Any) -> dict[str, str]:  # noqa: ANN401 -- YAML
    if isinstance(found, list):
        found = dict(each.split("=", 1) for each in found)
    return {name: _as_written(value) for name, value in found.items()}


def _as_written(value: Any) -> str:  # noqa: ANN401 -- YAML
    return str(value).lower() if isinstance(value, bool) else str(value)


def _aliases(networks: Any) -> Iterator[str]:  # noqa: ANN401 -- YAML
    if isinstance(networks, dict):
        for each in networks.values():
            yield from (each or {}).get("aliases", ())


def _health(found: Mapping[str, Any]) -> tuple[str, ...]:
    test = found.get("test", ())
    if isinstance(test, str):
        return ("sh", "-c", test)
    words = tuple(map(str, test))
    return ("sh", "-c", words[1]) if words[:1] == ("CMD-SHELL",) else words[1:]


def seconds(duration: str) -> float:
    """Return a duration as compose writes it, such as 1m30s."""
    return sum(
        float(number) * _SECONDS[unit]
        for number, unit in re.findall(r"([\d.]+)(ms|s|m|h)", duration)
    )


def in_order(services: Mapping[str, Service]) -> list[Service]:
    """Return services after those that they wait for."""
    done: dict[str, Service] = {}

    def add(each: Service) -> None:
        for other in each.after:
            if other in services and other not in done:
                add(services[other])
        done.setdefault(each.name, each)

    for each in services.values():
        add(each)
    return list(done.values())
