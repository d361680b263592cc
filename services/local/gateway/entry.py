"""Entry: one gateway node; reads the environment and the clock, serves until SIGTERM or SIGINT."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import structlog
import uvicorn
import uvloop

from services.core.http.protocol import ServiceProtocol
from services.core.logs import LogFormat, configure_logs
from services.core.private_files import write_private
from services.core.settings import SettingsError, load_settings
from services.local.gateway.admin_api import AdminApi
from services.local.gateway.configuration import Configuration, no_configuration
from services.local.gateway.counters import CounterStores
from services.local.gateway.declarative import load
from services.local.gateway.export import export
from services.local.gateway.plugins.base import Surroundings
from services.local.gateway.protocol import GatewayProtocol
from services.local.gateway.proxy import Proxy
from services.local.gateway.refusal import InvalidConfigurationError
from services.local.gateway.upstream import ServiceClient

DRAIN = 10  # seconds that requests under way get to end in; a service has 2 s to answer
IDLE = 65  # seconds until an idle client connection is closed; nginx's keepalive_timeout in Kong
GC_THRESHOLD = 20_000  # objects; requests leave few cycles, and a look at all objects is slow
KEPT = "configuration"  # the file in the prefix folder; it holds keys in plain text

# name=address[,address...][;name=...]
HOSTS_PATTERN = r"^([a-z0-9-]+=[0-9.]+(,[0-9.]+)*(;|$))*$"

_log = structlog.get_logger()


class Settings(msgspec.Struct, frozen=True):
    """The settings of a node: GATEWAY_PORT and so on."""

    gateway_port: int
    gateway_admin_port: int
    gateway_prefix: str
    gateway_host: str = "127.0.0.1"
    gateway_admin_host: str = "127.0.0.1"
    # Instead of Docker's DNS: `query=127.8.1.1,127.8.1.2;webhooks=127.8.2.1`
    gateway_hosts: Annotated[str, msgspec.Meta(pattern=HOSTS_PATTERN)] = ""


class _Listener(uvicorn.Server):
    """A uvicorn server that leaves signals to main, because there are two of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def main() -> None:
    """Run a node with the settings of the environment."""
    configure_logs(LogFormat.CONSOLE, service="gateway", environment="all")
    try:
        settings = load_settings(Settings, os.environ)
    except SettingsError as exc:
        sys.exit(f"gateway: {exc}")
    gc.set_threshold(GC_THRESHOLD)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, os.environ))


async def _serve(settings: Settings, environment: Mapping[str, str]) -> None:
    surroundings = Surroundings(environment, time.time, CounterStores())
    prefix = Path(settings.gateway_prefix)
    upstream = ServiceClient(hosts_of(settings.gateway_hosts))
    surroundings.metrics.show_targets(upstream.balancers.healths)
    proxy = Proxy(_kept_configuration(prefix, surroundings), upstream)
    admin = AdminApi(
        proxy,
        load=lambda text: load(text, surroundings),
        keep=lambda text: keep(prefix, text),
        export=lambda: export(_kept_text(prefix), environment),
        metrics=surroundings.metrics.text,
    )
    listeners = [
        _Listener(_config(proxy, settings.gateway_host, settings.gateway_port)),
        _Listener(_config(admin, settings.gateway_admin_host, settings.gateway_admin_port)),
    ]
    _stop_on_signals(listeners)
    try:
        await asyncio.gather(*(listener.serve() for listener in listeners))
    finally:
        surroundings.stores.close()
        await upstream.close()


def hosts_of(setting: str) -> dict[str, list[str]]:
    """Return the names and addresses of GATEWAY_HOSTS."""
    pairs = [each.split("=") for each in setting.split(";") if each]
    return {name: addresses.split(",") for name, addresses in pairs}


def _config(app: Proxy | AdminApi, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=GatewayProtocol if isinstance(app, Proxy) else ServiceProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # the client is who connects, whatever its headers say
        server_header=False,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=DRAIN,
    )


def _stop_on_signals(listeners: list[_Listener]) -> None:
    def stop() -> None:
        for listener in listeners:
            listener.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def _kept_configuration(prefix: Path, surroundings: Surroundings) -> Configuration:
    """Return the configuration of before a restart, or none if there is none or it has a fault."""
    prefix.mkdir(mode=0o700, parents=True, exist_ok=True)
    prefix.chmod(0o700)
    try:
        kept = _kept_text(prefix)
        return no_configuration() if kept is None else load(kept, surroundings)
    except (InvalidConfigurationError, UnicodeDecodeError) as exc:
        _log.warning("configuration.not_restored", reason=str(exc))
        return no_configuration()


def _kept_text(prefix: Path) -> str | None:
    kept = prefix / KEPT
    return kept.read_text("utf-8") if kept.exists() else None


def keep(prefix: Path, text: str) -> None:
    """Store an accepted text."""
    write_private(prefix / KEPT, text.encode())
