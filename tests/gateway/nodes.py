"""Nodes: the gateway under test: an embedded one (own process), a Kong, or one elsewhere."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlsplit

from services.local.children import free_port, stop
from tests.programs import find
from tools.gateway_node import BACKEND_TOKEN, Node
from tools.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
KIND = os.environ.get("GATEWAY", "embedded")
REMOTE = os.environ.get("GATEWAY_URL")

# What every Kong under test is told; where it listens and finds the plugins is its own.
KONG_SETTINGS = {
    "KONG_DATABASE": "off",
    "KONG_ADMIN_GUI_LISTEN": "off",
    "KONG_NGINX_WORKER_PROCESSES": "1",
    "KONG_REQUEST_DEBUG": "off",
    "KONG_PLUGINS": "bundled,error-envelope,backend-token",
    "BACKEND_TOKEN": BACKEND_TOKEN,
}


@contextlib.contextmanager
def kong_node(folder: Path) -> Generator[Node]:
    """Run the Kong that is on PATH with this repository's plugins."""
    kong = find("kong")
    assert kong, "GATEWAY=kong needs a kong on PATH"
    port, admin_port = free_port(), free_port()
    # Workers that root starts become another user, who could not enter the prefix.
    user = {"KONG_NGINX_USER": "root root"} if os.geteuid() == 0 else {}
    settings = {
        **os.environ,
        **KONG_SETTINGS,
        **user,
        "KONG_PREFIX": str(folder / "prefix"),
        "KONG_PROXY_LISTEN": f"127.0.0.1:{port}",
        "KONG_ADMIN_LISTEN": f"127.0.0.1:{admin_port}",
        "KONG_NGINX_DAEMON": "off",
        "KONG_LUA_PACKAGE_PATH": f"{ROOT}/gateway/plugins/?.lua;;",
    }
    settings.pop("KONG_DECLARATIVE_CONFIG", None)
    with (folder / "kong.log").open("ab") as log:
        process = subprocess.Popen([kong, "start"], env=settings, stdout=log, stderr=log)
    node = Node("127.0.0.1", port, f"http://127.0.0.1:{admin_port}", process)
    try:
        wait_for(node.listens, "a Kong that listens")
        yield node
    finally:
        subprocess.run([kong, "quit"], env=settings, check=False, capture_output=True)
        stop(process, signal.SIGTERM, within=10)


def remote_node(url: str, admin_url: str) -> Node:
    """Return a gateway that runs elsewhere."""
    parts = urlsplit(url)
    assert parts.hostname
    return Node(parts.hostname, parts.port or 80, admin_url.rstrip("/"))
