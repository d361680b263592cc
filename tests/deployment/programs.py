"""Programs: which settings a service of compose.yaml reads, and what it is told; pure."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from services.admin.settings import ServiceSettings
from services.cli.client import ClientSettings
from services.core.settings import SettingsError, load_settings
from services.query.entry import PROGRAMS as QUERY
from services.schema.settings import MigrateSettings
from services.webhooks.settings import (
    ApiSettings,
    RelaySettings,
    SchedulerSettings,
    WorkerSettings,
)
from tests.deployment.shape import SECRETS, Document

PYTHON = ("python", "-m")
SETTINGS: dict[tuple[str, ...], type[msgspec.Struct]] = {
    (*PYTHON, "services.query", "partner"): QUERY["partner"],
    (*PYTHON, "services.query", "internal"): QUERY["internal"],
    (*PYTHON, "services.webhooks", "api"): ApiSettings,
    (*PYTHON, "services.webhooks", "relay"): RelaySettings,
    (*PYTHON, "services.webhooks", "scheduler"): SchedulerSettings,
    (*PYTHON, "services.webhooks", "worker"): WorkerSettings,
    (*PYTHON, "services.webhooks", "slow-worker"): WorkerSettings,
    (*PYTHON, "services.admin"): ServiceSettings,
    ("partnerapi", "database", "migrate"): MigrateSettings,
}


# What the command line reads in the container of a program, besides.
COMMAND_LINE: dict[type[msgspec.Struct], type[msgspec.Struct]] = {ServiceSettings: ClientSettings}


def ours(document: Document) -> dict[str, dict[str, Any]]:
    """Return the services that run our image."""
    services = document["services"].items()
    return {
        name: each for name, each in services if "partner-inventory-sync" in each.get("image", "")
    }


def faults(document: Document, secrets: Path) -> list[str]:
    """Return what is wrong with what our services are told; `secrets` holds name.txt files."""
    found: list[str] = []
    for name, service in ours(document).items():
        command = tuple(service["command"])
        if command not in SETTINGS:
            found.append(f"{name}: no program is started by {' '.join(command)}")
            continue
        told = inside(service["environment"], secrets)
        found += [f"{name}: {fault}" for fault in _told(SETTINGS[command], told)]
        found += [f"{name}: {fault}" for fault in _port_asked(service)]
    return found


def inside(environment: Mapping[str, str], secrets: Path) -> dict[str, str]:
    """Return an environment whose secrets lie in a folder of this machine."""
    return {
        name: f"{secrets}/{value.removeprefix(SECRETS)}.txt" if value.startswith(SECRETS) else value
        for name, value in environment.items()
    }


def _told(settings: type[msgspec.Struct], environment: Mapping[str, str]) -> Iterator[str]:
    read = [settings, *([COMMAND_LINE[settings]] if settings in COMMAND_LINE else [])]
    known = {field.name.upper() for each in read for field in msgspec.structs.fields(each)}
    for name in environment:
        if name.removesuffix("_FILE") not in known:
            yield f"{name} is no setting of {settings.__name__}"
    try:
        load_settings(settings, environment)
    except SettingsError as exc:
        yield str(exc)


def _port_asked(service: Mapping[str, Any]) -> Iterator[str]:
    """The health check asks the port that the program listens on."""
    environment = service["environment"]
    port = environment.get("PORT", environment.get("METRICS_PORT"))
    asked = service.get("healthcheck", {}).get("test", ("",))[-1]
    if port is not None and asked != f"http://127.0.0.1:{port}/health/ready":
        yield f"listens on {port}, and its health check asks {asked}"
