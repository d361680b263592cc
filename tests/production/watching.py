"""Watching: deploy/prometheus on a real Prometheus, which asks the services that run here."""

import contextlib
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import yaml

from services.local.children import free_port, start, stop
from tests.production.composition import REPOSITORY
from tests.production.hosting import ADMIN_PORT, STATUS_PORT, Network
from tests.programs import path_of
from tools.waiting import wait_for

DEPLOYED = REPOSITORY / "deploy" / "prometheus"
EVERY = "1s"
INTERVALS = ("scrape_interval", "scrape_timeout", "evaluation_interval")
READY_WITHIN = 30.0  # seconds


@contextlib.contextmanager
def prometheus(folder: Path, network: Network) -> Generator[httpx.Client]:
    """Run it with the deployed rules and jobs; yield a client of its API."""
    folder.mkdir()
    (folder / "prometheus.yml").write_text(yaml.safe_dump(_configuration(network)))
    address = f"127.0.0.1:{free_port()}"
    command = [
        path_of("prometheus"),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={address}",
    ]
    process = start(command, log=folder / "prometheus.log", folder=folder, environment={})
    try:
        with httpx.Client(base_url=f"http://{address}", trust_env=False) as client:
            wait_for(lambda: _ready(client), "Prometheus", READY_WITHIN)
            yield client
    finally:
        stop(process, signal.SIGTERM, within=10)


def _configuration(network: Network) -> dict[str, Any]:
    """Return the deployed one, faster, with addresses for names."""
    found = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text())
    found["global"] = dict.fromkeys(INTERVALS, EVERY)
    found["rule_files"] = [str(DEPLOYED / "rules" / "*.yml")]
    for job in found["scrape_configs"]:
        for each in job.get("static_configs", []):
            each["targets"] = [_address(network, target) for target in each["targets"]]
        looked_up = [(dns, name) for dns in job.pop("dns_sd_configs", []) for name in dns["names"]]
        if looked_up:  # as its discovery by DNS would hand them on
            job["static_configs"] = [
                {
                    "targets": [_address(network, f"{name}:{dns['port']}")],
                    "labels": {"__meta_dns_name": name},
                }
                for dns, name in looked_up
            ]
    return found


def _address(network: Network, target: str) -> str:
    name, _, port = target.partition(":")
    if name.startswith("kong"):  # the embedded gateway has one port for both of Kong's
        port = port.replace(str(STATUS_PORT), str(ADMIN_PORT))
    return f"{network.of_service(name)}:{port}"


def found(client: httpx.Client, query: str) -> list[dict[str, Any]]:
    """Return what a query finds now."""
    answer = client.get("/api/v1/query", params={"query": query})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["result"]


def _ready(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/-/ready").status_code == 200
    return False
