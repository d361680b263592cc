"""compose.yaml: valid, locked in, limited; what it names exists. Every check sees a fault."""

import copy
import importlib.util
import json
import os
import re
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from jsonschema import Draft202012Validator

from services.admin.stock.http import FILE_MOST
from tests.deployment import shape
from tests.deployment.shape import REPOSITORY, Document

PROMETHEUS = REPOSITORY / "deploy" / "prometheus" / "prometheus.yml"


@pytest.fixture(scope="module")
def document() -> Document:
    return shape.read()


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    """The compose specification's own schema, as the package check-jsonschema carries it."""
    package = importlib.util.find_spec("check_jsonschema")
    assert package is not None, "check-jsonschema is not installed"
    assert package.origin is not None
    vendor = Path(package.origin).parent / "builtin_schemas" / "vendor"
    return Draft202012Validator(json.loads((vendor / "compose-spec.json").read_text()))


def test_the_file_is_what_the_compose_specification_allows(
    document: Document, schema: Draft202012Validator
) -> None:
    faults = [f"{list(each.path)}: {each.message}" for each in schema.iter_errors(document)]
    assert faults == []


def test_the_specification_refuses_a_mistyped_word(
    document: Document, schema: Draft202012Validator
) -> None:
    broken = copy.deepcopy(document)
    broken["services"]["admin"]["helthcheck"] = broken["services"]["admin"].pop("healthcheck")
    assert any("helthcheck" in each.message for each in schema.iter_errors(broken))


def test_no_key_of_the_file_stands_twice() -> None:
    def pairs(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[str, Any]:
        keys = [key.value for key, _ in node.value if key.value != "<<"]
        assert len(keys) == len(set(keys)), f"line {node.start_mark.line + 1}: {keys}"
        loader.flatten_mapping(node)
        return loader.construct_mapping(node)

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, pairs)
    yaml.load(shape.COMPOSE.read_text(), Loader)  # a SafeLoader


def test_every_service_is_locked_in_limited_watched_and_in_reach_of_what_it_asks(
    document: Document,
) -> None:
    assert shape.faults(document) == []


Plant = Callable[[dict[str, Any]], Any]
PLANTED: list[tuple[str, Plant]] = [
    ("admin: runs as root", lambda s: s["admin"].update(user="0:0")),
    ("kong-1: runs as root", lambda s: s["kong-1"].pop("user")),
    ("relay: can write to its root", lambda s: s["relay"].update(read_only=False)),
    ("postgres: keeps capabilities", lambda s: s["postgres"].update(cap_add=["CHOWN"])),
    ("mail: can gain privileges", lambda s: s["mail"].pop("security_opt")),
    ("worker: has network_mode", lambda s: s["worker"].update(network_mode="host")),
    (
        "worker: has no limit of memory",
        lambda s: s["worker"]["deploy"]["resources"]["limits"].pop("memory"),
    ),
    ("grafana: has no limit of its logs", lambda s: s["grafana"].pop("logging")),
    ("query-2: has no health check", lambda s: s["query-2"].pop("healthcheck")),
    ("relay: is in no profile", lambda s: s["relay"].update(profiles=[])),
    ("mail: its image", lambda s: s["mail"].update(image="axllent/mailpit:latest")),
    ("admin: publishes", lambda s: s["admin"].update(ports=["8100:8100"])),
    ("relay: names the secret live", lambda s: s["relay"].update(secrets=[])),
    ("relay: is given the secret ma", lambda s: s["relay"]["secrets"].append("master-keys")),
    ("secret nobody is used", lambda s: s["relay"]["secrets"].append("nobody")),
    (
        "relay: MASTER_KEYS stands in the file",
        lambda s: s["relay"]["environment"].update(MASTER_KEYS="key"),
    ),
    ("admin: can write to ./gateway", lambda s: s["admin"].update(volumes=["./gateway:/app/g"])),
    ("admin: mounts ./nowhere", lambda s: s["admin"].update(volumes=["./nowhere:/app/g:ro"])),
    ("admin: does not wait for migrate", lambda s: s["admin"].update(depends_on={})),
    (
        "admin: does not wait until migrate",
        lambda s: s["admin"]["depends_on"]["migrate"].update(condition="service_started"),
    ),
    ("query-1: can't reach valkey-cache", lambda s: s["query-1"].update(networks=["backend"])),
    (
        "kong: the Admin API is within reach",
        lambda s: s["relay"]["networks"].append("gateway-admin"),
    ),
    ("kong: there is only one node", lambda s: s.pop("kong-2")),
    (
        "kong: kong-1 would forget its partners",
        lambda s: s["kong-1"]["environment"].update(KONG_DECLARATIVE_CONFIG="/kong.yml"),
    ),
    (
        "kong: kong-1 routes by headers",
        lambda s: s["kong-1"]["environment"].pop("KONG_REQUEST_DEBUG"),
    ),
    ("kong: kong-1 keeps what it was told on no", lambda s: s["kong-1"].update(volumes=[])),
    (
        "port 8100 is published by admin and admin-2",
        lambda s: s["admin-2"].update(ports=["127.0.0.1:${ADMIN_2_PORT:-8100}:8100"]),
    ),
]


@pytest.mark.parametrize(("told", "plant"), PLANTED, ids=[told for told, _ in PLANTED])
def test_a_planted_fault_is_told(document: Document, told: str, plant: Plant) -> None:
    broken = json.loads(json.dumps(document))  # no two services share a part, as by an anchor
    plant(broken["services"])
    assert any(fault.startswith(told) for fault in shape.faults(broken)), shape.faults(broken)


def test_a_network_that_is_opened_is_told(document: Document) -> None:
    broken = copy.deepcopy(document)
    broken["networks"]["data"] = {}
    assert "network data is not internal" in shape.faults(broken)


def gateway_targets(policy: str) -> list[str]:
    upstreams = yaml.safe_load(policy)["upstreams"]
    return [target["target"] for upstream in upstreams for target in upstream["targets"]]


def test_every_target_of_the_gateway_is_two_services_that_listen_there(
    document: Document,
) -> None:
    policy = (REPOSITORY / "gateway" / "kong.yml").read_text()
    near = shape.networks(document["services"]["kong-1"])
    targets = gateway_targets(policy)
    assert len(targets) == 4
    for target in targets:
        host, port = target.split(":")
        found = shape.reachable(host, near, document)
        assert len(found) == 2, target
        for name in found:
            assert document["services"][name]["environment"]["PORT"] == port, name
    (counters,) = set(re.findall(r"host: ([a-z-]+)", policy))
    assert shape.reachable(counters, near, document) == [counters]


def test_the_load_balancer_names_every_kong_node_and_asks_whether_it_is_ready(
    document: Document,
) -> None:
    text = shape.haproxy()
    servers = re.findall(r"^ +server (\S+) (\S+):8000$", text, re.MULTILINE)
    nodes = [name for name in document["services"] if name.startswith("kong")]
    assert servers == [(name, name) for name in nodes]
    near = shape.networks(document["services"]["load-balancer"])
    assert all(shape.reachable(name, near, document) == [name] for name in nodes)
    assert "option httpchk GET /status/ready" in text
    assert "check port 8100" in text
    listens = document["services"]["kong-1"]["environment"]["KONG_STATUS_LISTEN"]
    assert listens.endswith(":8100")


def test_an_import_of_the_largest_file_has_room_in_each_admin(document: Document) -> None:
    for name in shape.ADMINS:
        [size] = re.findall(r"^/tmp:size=(\d+)m", document["services"][name]["tmpfs"][0])
        assert int(size) * 1024 * 1024 >= 3 * FILE_MOST, name


@pytest.mark.parametrize("admin", shape.ADMINS)
def test_each_admin_posts_to_every_kong_node(document: Document, admin: str) -> None:
    services = document["services"]
    names = re.findall(r"//([^:]+):8001", services[admin]["environment"]["KONG_ADMIN_URLS"])
    near = shape.networks(services[admin])
    found = [node for name in names for node in shape.reachable(name, near, document)]
    assert found == [name for name in services if name.startswith("kong")]


@pytest.mark.parametrize("admin", shape.ADMINS)
def test_the_command_line_in_an_admin_reaches_both(document: Document, admin: str) -> None:
    service = document["services"][admin]
    where = urlsplit(service["environment"]["ADMIN_URL"])
    assert where.hostname is not None
    found = shape.reachable(where.hostname, shape.networks(service), document)
    assert found == [*shape.ADMINS]
    for name in found:
        assert document["services"][name]["environment"]["PORT"] == str(where.port)


def test_prometheus_asks_only_services_that_exist_and_are_in_reach(document: Document) -> None:
    near = shape.networks(document["services"]["prometheus"])
    scraped = yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]
    fixed = {host for host, _ in re.findall(r"'([a-z][a-z0-9-]*):(\d+)'", str(scraped))}
    looked_up = {
        name for job in scraped for dns in job.get("dns_sd_configs", []) for name in dns["names"]
    }
    for host in fixed | looked_up:
        assert shape.reachable(host, near, document), host
    silent = {"migrate", "load-balancer"}  # it ends; no metrics of ours, and it has its own page
    others = {"postgres", "mail", "prometheus", "grafana"}
    stores = {name for name in document["services"] if name.startswith("valkey-")}
    assert fixed | looked_up == document["services"].keys() - silent - others - stores


def test_the_deployment_page_names_only_services_that_exist(document: Document) -> None:
    text = (REPOSITORY / "docs" / "deployment.md").read_text()
    verbs = r"up|restart|stop|logs|exec|run|ps|kill|start|build"
    commands = re.findall(rf"docker compose (?:--\S+ \S+ )*(?:{verbs})((?: [^\n`#|<]+)?)", text)
    assert len(commands) > 5
    for command in commands:
        words = re.sub(r" -e \S+", "", command)  # the variable that `exec -e` hands over
        names = [word.split("=")[0] for word in words.split() if not word.startswith("-")]
        unknown = [name for name in names[:1] if name not in document["services"]]
        assert unknown == [], words
    for name in re.findall(r"`(\S+)\.txt`", text):
        assert name in document["secrets"]


def test_a_kong_node_is_started_with_its_token_a_private_prefix_and_its_own_admin_address(
    tmp_path: Path,
) -> None:
    (entrypoint := tmp_path / "entrypoint").write_text(
        '#!/bin/sh\necho "$@|$BACKEND_TOKEN|$KONG_ADMIN_LISTEN|$(umask)"\n'
    )
    entrypoint.chmod(0o755)
    prefix = tmp_path / "prefix"
    prefix.mkdir(mode=0o755)
    (prefix / "config.cache").write_text("kept")
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(prefix / "worker.sock"))
    (tmp_path / "token").write_text("the-token,the-one-before\n")
    script = (REPOSITORY / "deploy" / "kong" / "start.sh").read_text()
    assert "exec /docker-entrypoint.sh " in script
    done = subprocess.run(
        ["bash", "-c", script.replace("/docker-entrypoint.sh", str(entrypoint)), "start", "kong"],
        env={
            "PATH": os.environ["PATH"],
            "BACKEND_TOKEN_FILE": str(tmp_path / "token"),
            "KONG_PREFIX": str(prefix),
            "ADMIN_NAME": "localhost",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "kong|the-token|127.0.0.1:8001|0077\n", done.stderr
    assert stat.S_IMODE(prefix.stat().st_mode) == 0o700
    assert [each.name for each in prefix.iterdir()] == ["config.cache"]
