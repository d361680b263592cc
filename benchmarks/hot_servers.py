"""Hot servers: what `make bench` measures, each a process of its own, on real stores."""

import json
import os
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from subprocess import Popen

import httpx
import psycopg
import valkey

from benchmarks.plain import PREFIX
from services.core import headers
from services.core.environments import Environment
from services.domain.stock import item_json
from services.local.children import free_port, start, stop
from services.local.postgres import running_postgres
from services.local.valkey import running_valkey
from services.schema.migrate import migrate, set_role_password
from services.schema.seed import seed

PATH = "/partner/v1/inventory"
FLOOR, PLAIN = "floor", "plain handler"
MEMORY, VALKEY, POSTGRES = "memory hot", "Valkey only", "PostgreSQL only"
TOKEN = "backend-token-of-the-benchmark-0123456789"
PASSWORD = "a-password-of-the-benchmark"
STARTS_WITHIN = 20.0  # seconds

# What Kong sends with a request, all of it: each header costs the floor as much as it costs us.
GATEWAY_HEADERS = {
    "Host": "api.example.com",
    "Content-Type": "application/json",
    "User-Agent": "partner-sync/1.0",
    "Accept": "*/*",
    "Via": "1.1 kong/3.9.3",
    "X-Real-IP": "198.51.100.7",
    "X-Forwarded-For": "198.51.100.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "api.example.com",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Path": PATH,
    "X-Consumer-ID": "0b6a2c1e-6f0f-4b4e-9b58-2f0a6b5f7c11",
    "X-Consumer-Username": "techmart",
    headers.CONSUMER_CUSTOM_ID: Environment.LIVE.custom_id("techmart"),
    headers.CREDENTIAL_IDENTIFIER: "5e0c7d52-3a44-4b0e-8d0f-9c1a2b3d4e5f",
    headers.BACKEND_TOKEN: TOKEN,
    headers.REQUEST_ID: "8f2f1c7e-1d7b-4a9c-9d55-6a1b2c3d4e5f",
}


@dataclass(frozen=True)
class Server:
    """A running server; `paths` holds the path for each number of ids."""

    process: Popen[bytes]
    port: int
    paths: Mapping[int, str]

    def cpu_seconds(self) -> float:
        """Return the time on a processor of all of its threads; Linux counts nanoseconds."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def pin(self, core: int) -> None:
        """Keep it on one core, it and what it starts from now on."""
        pin(self.process.pid, core)


def pin(pid: int, core: int) -> None:
    """Keep a process and its threads on one core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


@contextmanager
def running_servers(
    folder: Path, sizes: tuple[int, ...], *, core: int
) -> Generator[tuple[dict[str, Server], list[str]]]:
    """Run all of them on `core`; yield them and the product ids. The stores stay on this core."""
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres(folder / "postgres", "fsync=off"))
        cache = stack.enter_context(running_valkey(folder / "valkey"))
        migrate(postgres.url())
        set_role_password(postgres.url(), "live_query", PASSWORD)
        seed(postgres.url(), Environment.LIVE)
        items = _items(postgres.url())
        with valkey.Valkey(port=cache.port) as connection:
            connection.mset({PREFIX + each: item for each, item in items.items()})
        floor = {f"/{size}": _answer(list(items.values())[:size]) for size in sizes}
        (folder / "floor.json").write_text(json.dumps(floor))
        database_url = postgres.url(role="live_query", password=PASSWORD)
        servers = {
            FLOOR: _start(stack, folder, sizes, "benchmarks.floor", str(folder / "floor.json")),
            MEMORY: _query(stack, folder, sizes, database_url, cache.url),
            VALKEY: _query(stack, folder, sizes, database_url, cache.url, MEMORY_ENTRIES="0"),
            POSTGRES: _query(stack, folder, sizes, database_url, _nobody(), MEMORY_ENTRIES="0"),
            PLAIN: _start(stack, folder, sizes, "benchmarks.plain", cache.url),
        }
        for server in servers.values():
            _wait(server)
            server.pin(core)
        yield servers, list(items)


@contextmanager
def query_server(folder: Path, database_url: str, cache_url: str) -> Generator[Server]:
    """Run the partners' program alone, on any core."""
    with ExitStack() as stack:
        server = _query(stack, folder, (), database_url, cache_url)
        _wait(server)
        yield server


def request(server: Server, product_ids: list[str]) -> bytes:
    """Return a whole request, as the gateway sends it."""
    body = json.dumps({"product_ids": product_ids}, separators=(",", ":")).encode()
    lines = [f"POST {server.paths[len(product_ids)]} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in GATEWAY_HEADERS.items()]
    lines += [f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _query(
    stack: ExitStack,
    folder: Path,
    sizes: Sequence[int],
    database_url: str,
    cache_url: str,
    **more: str,
) -> Server:
    """Start the partners' program."""
    port = free_port()
    environment = {
        "ENVIRONMENT": "live",
        "DATABASE_URL": database_url,
        "CACHE_URL": cache_url,
        "BACKEND_TOKEN": TOKEN,
        "PORT": str(port),
        **more,
    }
    command = [sys.executable, "-m", "services.query", "partner"]
    log = folder / f"query-{port}.log"
    process = start(command, log=log, folder=folder, environment=environment)
    stack.callback(stop, process, SIGTERM, within=12)
    return Server(process, port, dict.fromkeys(sizes, PATH))


def _start(
    stack: ExitStack, folder: Path, sizes: Sequence[int], module: str, argument: str
) -> Server:
    """Start one of the servers that the service is compared with."""
    port = free_port()
    command = [sys.executable, "-m", module, str(port), argument]
    process = start(command, log=folder / f"{module}.log", folder=folder)
    stack.callback(stop, process, SIGTERM, within=12)
    path = {size: f"/{size}" if module == "benchmarks.floor" else PATH for size in sizes}
    return Server(process, port, path)


def _items(owner_url: str) -> dict[str, bytes]:
    with psycopg.connect(owner_url, options="-c timezone=UTC") as connection:
        rows = connection.execute(
            "SELECT product_id, quantity, updated_at, version FROM live.products ORDER BY 1"
        ).fetchall()
    return {row[0]: item_json(*row) for row in rows}


def _answer(items: list[bytes]) -> str:
    joined = b",".join(items).decode()
    return f'{{"items":[{joined}],"not_found":[],"timestamp":"2026-11-22T09:14:03.512804Z"}}'


def _wait(server: Server) -> None:
    """Return when it answers at all."""
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{server.port}/health/live", trust_env=False)
            return
        time.sleep(0.02)
    msg = f"{server.process.args!r} never answered"
    raise TimeoutError(msg)


def _nobody() -> str:
    """Return the address of a Valkey that is not there."""
    return f"valkey://127.0.0.1:{free_port()}/0"
