"""Plan: what a stack consists of, with which ports and settings; pure, starts nothing."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from services.core.environments import Environment
from services.local import postgres, valkey
from services.local.program import HOST, Program, Stage, valkey_url
from services.local.state import Secrets, database_url
from services.local.webhook_programs import webhook_programs

REPOSITORY = Path(__file__).resolve().parents[2]
POLICY = REPOSITORY / "gateway" / "kong.yml"
COUNTERS_DATABASE = 1  # of the one Valkey; emptying the cache (0) leaves the limits alone

# From the port base.
OFFSETS = {
    "gateway": 0,
    "gateway-admin": 1,
    "mail": 25,
    "postgres": 54,
    "valkey": 63,
    "admin": 100,
    "query-live": 101,
    "webhooks-live": 102,
    "internal-live": 103,
    "deliveries-live": 104,  # metrics and health of the programs in the background
    "deliveries-sandbox": 200,
    "query-sandbox": 201,
    "webhooks-sandbox": 202,
}
# Upstream of gateway/kong.yml -> the program that is its one target.
UPSTREAMS = {
    "query": "query-live",
    "sandbox-query": "query-sandbox",
    "webhooks": "webhooks-live",
    "sandbox-webhooks": "webhooks-sandbox",
}
HIGHEST_BASE = 65_535 - max(OFFSETS.values())


class GatewayKind(StrEnum):
    """Which gateway stands in front."""

    EMBEDDED = "embedded"
    KONG = "kong"
    NONE = "none"  # nodes that run already, named by KONG_ADMIN_URLS


@dataclass(frozen=True)
class Plan:
    """What to start, and what the rest of the world needs to know of it."""

    kind: GatewayKind
    ports: dict[str, int]
    programs: dict[str, Program]
    nodes: str  # the gateway's admin addresses, comma separated
    policy: Path

    @property
    def urls(self) -> dict[str, str]:
        """The addresses for people and programs."""
        shown = ("gateway", "gateway-admin", "internal-live", "admin")
        return {name: f"http://{HOST}:{self.ports[name]}" for name in shown if name in self.ports}

    @property
    def admin(self) -> dict[str, str]:
        """Admin's settings, but for secrets."""
        return admin_settings(self.ports, self.nodes, self.policy)


def admin_settings(ports: Mapping[str, int], nodes: str, policy: Path) -> dict[str, str]:
    """Return what admin's service and command line are told, but for secrets."""
    upstreams = [f"{name}={HOST}:{ports[program]}" for name, program in UPSTREAMS.items()]
    return {
        "KONG_ADMIN_URLS": nodes,
        "GATEWAY_POLICY": str(policy),
        "GATEWAY_UPSTREAMS": ",".join(upstreams),
        "GATEWAY_COUNTERS_URL": f"{valkey_url(ports, COUNTERS_DATABASE)}",
    }


def make_plan(
    folder: Path,
    base: int,
    kind: GatewayKind,
    secrets: Secrets,
    *,
    policy: Path = POLICY,
    kong: Path | None = None,
    nodes: str = "",
    as_root: bool = False,
) -> Plan:
    """Plan a stack in a state folder. `kong` is its program, `nodes` are for GatewayKind.NONE."""
    ports = {name: base + offset for name, offset in OFFSETS.items()}
    if kind is GatewayKind.NONE:
        del ports["gateway"], ports["gateway-admin"]
    else:
        nodes = f"http://{HOST}:{ports['gateway-admin']}"
    programs = _servers(folder, ports)
    # First of the services, as a start waits until the gateway has its configuration from it.
    programs.append(_admin(ports, secrets, admin_settings(ports, nodes, policy)))
    programs += [*_services(ports, secrets), *webhook_programs(folder, ports, secrets)]
    if kind is GatewayKind.EMBEDDED:
        programs.append(_embedded_gateway(folder / "gateway", ports, secrets))
    elif kind is GatewayKind.KONG and kong is not None:
        programs.append(_kong(kong, folder / "kong", ports, secrets, as_root=as_root))
    return Plan(kind, ports, {each.name: each for each in programs}, nodes, policy)


def _servers(folder: Path, ports: dict[str, int]) -> list[Program]:
    return [
        Program(
            name="valkey",
            stage=Stage.SERVERS,
            command=valkey.server_command(folder / "valkey", ports["valkey"]),
            ports=(ports["valkey"],),
            stop_signal=valkey.STOP_SIGNAL,
            folder=folder / "valkey",
        ),
        Program(
            name="postgres",
            stage=Stage.SERVERS,
            command=postgres.server_command(folder / "postgres", ports["postgres"]),
            ports=(ports["postgres"],),
            stop_signal=postgres.STOP_SIGNAL,
            unprivileged=True,
        ),
    ]


def _services(ports: dict[str, int], secrets: Secrets) -> list[Program]:
    return [
        _query("query-live", "partner", Environment.LIVE, ports, secrets),
        _query("internal-live", "internal", Environment.LIVE, ports, secrets),
        _query("query-sandbox", "partner", Environment.SANDBOX, ports, secrets),
    ]


def _query(
    name: str, app: str, environment: Environment, ports: dict[str, int], secrets: Secrets
) -> Program:
    return Program(
        name=name,
        stage=Stage.SERVICES,
        command=(sys.executable, "-m", "services.query", app),
        ports=(ports[name],),
        health=f"http://{HOST}:{ports[name]}/health/ready",
        environment={
            "ENVIRONMENT": environment,
            "DATABASE_URL": database_url(ports["postgres"], f"{environment}_query", secrets),
            "CACHE_URL": valkey_url(ports, 0),
            "BACKEND_TOKEN": secrets.backend_token,
            "HOST": HOST,
            "PORT": str(ports[name]),
            "LOG_FORMAT": "console",
        },
    )


def _admin(ports: dict[str, int], secrets: Secrets, settings: dict[str, str]) -> Program:
    return Program(
        name="admin",
        stage=Stage.SERVICES,
        command=(sys.executable, "-m", "services.admin"),
        ports=(ports["admin"],),
        health=f"http://{HOST}:{ports['admin']}/health/ready",
        environment={
            **settings,
            "ADMIN_DATABASE_URL": database_url(ports["postgres"], "admin", secrets),
            "MASTER_KEYS": secrets.master_key,
            "HOST": HOST,
            "PORT": str(ports["admin"]),
            "LOG_FORMAT": "console",
        },
    )


def _embedded_gateway(prefix: Path, ports: dict[str, int], secrets: Secrets) -> Program:
    return Program(
        name="gateway",
        stage=Stage.GATEWAY,
        command=(sys.executable, "-m", "services.local.gateway"),
        ports=(ports["gateway"], ports["gateway-admin"]),
        health=f"http://{HOST}:{ports['gateway-admin']}/status",
        folder=prefix,
        environment={
            "GATEWAY_HOST": HOST,
            "GATEWAY_PORT": str(ports["gateway"]),
            "GATEWAY_ADMIN_PORT": str(ports["gateway-admin"]),
            "GATEWAY_PREFIX": str(prefix),
            "BACKEND_TOKEN": secrets.backend_token,
        },
    )


def _kong(
    kong: Path, prefix: Path, ports: dict[str, int], secrets: Secrets, *, as_root: bool
) -> Program:
    """Kong in the foreground, with this repository's plugins and no declarative file (KONG.md)."""
    # Workers that root starts become another user, who could not enter the prefix (mode 0700).
    user = {"KONG_NGINX_USER": "root root"} if as_root else {}
    return Program(
        name="gateway",
        stage=Stage.GATEWAY,
        command=(sys.executable, "-m", "services.local.foreground", str(kong), "start"),
        ports=(ports["gateway"], ports["gateway-admin"]),
        health=f"http://{HOST}:{ports['gateway-admin']}/status",
        folder=prefix,
        environment={
            **user,
            "KONG_DATABASE": "off",
            "KONG_PREFIX": str(prefix),
            "KONG_PROXY_LISTEN": f"{HOST}:{ports['gateway']}",
            "KONG_ADMIN_LISTEN": f"{HOST}:{ports['gateway-admin']}",
            "KONG_ADMIN_GUI_LISTEN": "off",
            "KONG_STATUS_LISTEN": "off",
            "KONG_LUA_PACKAGE_PATH": f"{REPOSITORY}/gateway/plugins/?.lua;;",
            "KONG_REQUEST_DEBUG": "off",  # gateway/plugins/README.md tells why
            "KONG_PLUGINS": "bundled,error-envelope,backend-token",
            "KONG_NGINX_DAEMON": "off",
            "KONG_NGINX_WORKER_PROCESSES": "1",
            "KONG_PROXY_ACCESS_LOG": "off",
            "KONG_ADMIN_ACCESS_LOG": "off",
            "KONG_PROXY_ERROR_LOG": "/dev/stderr",
            "KONG_ADMIN_ERROR_LOG": "/dev/stderr",
            "KONG_ANONYMOUS_REPORTS": "off",
            "BACKEND_TOKEN": secrets.backend_token,
        },
    )
