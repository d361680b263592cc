"""Shape: what is wrong with a compose.yaml, in sentences; pure, so that faults can be planted."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
COMPOSE = REPOSITORY / "compose.yaml"
ONE_SHOT = {"migrate"}  # ends when its work is done, so it has no health
PUBLIC = {"load-balancer"}
ADMINS = ("admin", "admin-2")
INTERNAL = ("edge", "shop", "gateway-admin", "backend", "counters", "data")
ROOT = {"", "0", "root"}
SECRETS = "/run/secrets/"
SECRET_NAMES = re.compile(r"PASSWORD|TOKEN|MASTER_KEYS|DATABASE_URL|SMTP_URL|SECRET")

Document = dict[str, Any]


def read() -> Document:
    return yaml.safe_load(COMPOSE.read_text())


def faults(document: Document) -> list[str]:
    """Return every fault of the file's shape; the settings are checked by programs.py."""
    found = list(_whole(document))
    for name, service in document["services"].items():
        for check in (_user, _locked_in, _limits, _life, _ports, _secrets, _mounts, _environment):
            found += [f"{name}: {fault}" for fault in check(name, service)]
        found += [f"{name}: {fault}" for fault in _order(name, service, document)]
        found += [f"{name}: {fault}" for fault in _reach(name, service, document)]
    found += [f"kong: {fault}" for fault in _kong(document)]
    found += _published_twice(document)
    return found


def _whole(document: Document) -> Iterator[str]:
    networks = document["networks"]
    yield from (
        f"network {name} is not internal"
        for name in INTERNAL
        if not (networks.get(name) or {}).get("internal")
    )
    used = {secret for each in document["services"].values() for secret in each.get("secrets", ())}
    yield from (f"secret {name} is used and not declared" for name in used - {*document["secrets"]})
    yield from (f"secret {name} is declared and not used" for name in {*document["secrets"]} - used)
    for name, secret in document["secrets"].items():
        if secret != {"file": f"./secrets/{name}.txt"}:
            yield f"secret {name} is not the file ./secrets/{name}.txt"


def _user(_name: str, service: Mapping[str, Any]) -> Iterator[str]:
    if str(service.get("user", "")).split(":")[0] in ROOT:
        yield "runs as root"


def _locked_in(_name: str, service: Mapping[str, Any]) -> Iterator[str]:
    if service.get("read_only") is not True:
        yield "can write to its root file system"
    if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
        yield "keeps capabilities"
    if "no-new-privileges:true" not in service.get("security_opt", ()):
        yield "can gain privileges"
    for danger in ("privileged", "network_mode", "pid", "ipc"):
        if danger in service:
            yield f"has {danger}"


def _limits(_name: str, service: Mapping[str, Any]) -> Iterator[str]:
    resources = service.get("deploy", {}).get("resources", {})
    for limit in ("cpus", "memory", "pids"):
        if limit not in resources.get("limits", {}):
            yield f"has no limit of {limit}"
    if "memory" not in resources.get("reservations", {}):
        yield "has no memory reserved"
    if not {"max-size", "max-file"} <= service.get("logging", {}).get("options", {}).keys():
        yield "has no limit of its logs"


def _life(name: str, service: Mapping[str, Any]) -> Iterator[str]:
    if name not in ONE_SHOT and "healthcheck" not in service:
        yield "has no health check"
    if "restart" not in service:
        yield "is not started again"
    if "stop_grace_period" not in service:
        yield "has no stop_grace_period"
    if not set(service.get("profiles", ())) & {"core", "sandbox", "observability", "mail"}:
        yield "is in no profile"
    image = service.get("image", "")
    if "partner-inventory-sync" not in image and not re.search(r":v?\d+(\.\d+)*$", image):
        yield f"its image {image} has no version"


def _ports(name: str, service: Mapping[str, Any]) -> Iterator[str]:
    for port in service.get("ports", ()):
        if name not in PUBLIC and not str(port).startswith("127.0.0.1:"):
            yield f"publishes {port} beyond this machine"


def _secrets(_name: str, service: Mapping[str, Any]) -> Iterator[str]:
    granted = set(service.get("secrets", ()))
    text = yaml.safe_dump([service.get(key) for key in ("environment", "command", "volumes")])
    named = set(re.findall(rf"{SECRETS}([a-z-]+)", text))
    if _name in PUBLIC:  # named in its own configuration
        named |= set(re.findall(rf"{SECRETS}([a-z-]+)", haproxy()))
    yield from (f"names the secret {each}, which it is not given" for each in named - granted)
    yield from (f"is given the secret {each}, which it does not name" for each in granted - named)


def _environment(_name: str, service: Mapping[str, Any]) -> Iterator[str]:
    for name, value in service.get("environment", {}).items():
        if not isinstance(value, str):
            yield f"{name} is not a string in quotes"
        if SECRET_NAMES.search(name) and not name.endswith("_FILE"):
            yield f"{name} stands in the file"


def _mounts(_name: str, service: Mapping[str, Any]) -> Iterator[str]:
    for volume in service.get("volumes", ()):
        source, _, rest = volume.partition(":")
        if "docker.sock" in volume:
            yield "holds Docker's socket"
        if source.startswith("."):
            if not rest.endswith(":ro"):
                yield f"can write to {source}"
            if not (REPOSITORY / source).exists():
                yield f"mounts {source}, which does not exist"


def _order(name: str, service: Mapping[str, Any], document: Document) -> Iterator[str]:
    services = document["services"]
    for other, how in service.get("depends_on", {}).items():
        if other not in services:
            yield f"waits for {other}, which does not exist"
            continue
        wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        if how["condition"] != wanted:
            yield f"does not wait until {other} is {wanted}"
        if not set(service["profiles"]) <= set(services[other]["profiles"]):
            yield f"waits for {other}, which is not in its profiles"
    ours = "partner-inventory-sync" in service.get("image", "")
    if ours and name not in ONE_SHOT and "migrate" not in service.get("depends_on", {}):
        yield "does not wait for migrate"


def _reach(_name: str, service: Mapping[str, Any], document: Document) -> Iterator[str]:
    """Every address in the environment is a service on a network that both are on."""
    for value in service.get("environment", {}).values():
        for host in re.findall(r"\w+://([a-z][a-z0-9-]*)[:/]", str(value)):
            if not reachable(host, networks(service), document):
                yield f"can't reach {host}"


def networks(service: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return a service's networks with its aliases there."""
    found = service.get("networks", ())
    if isinstance(found, dict):
        return {name: list((told or {}).get("aliases", ())) for name, told in found.items()}
    return {name: [] for name in found}


def reachable(host: str, mine: Mapping[str, Any], document: Document) -> list[str]:
    """Return the services of this name or alias on one of these networks."""
    return [
        name
        for name, other in document["services"].items()
        for network, aliases in networks(other).items()
        if network in mine and host in (name, *aliases)
    ]


def _kong(document: Document) -> Iterator[str]:
    nodes = {name: each for name, each in document["services"].items() if name.startswith("kong")}
    if len(nodes) < 2:
        yield "there is only one node"
    for name, node in nodes.items():
        environment = node["environment"]
        if "KONG_DECLARATIVE_CONFIG" in environment:
            yield f"{name} would forget its partners at each start (KONG_DECLARATIVE_CONFIG)"
        if environment.get("KONG_DATABASE") != "off":
            yield f"{name} wants a database"
        if environment.get("KONG_REQUEST_DEBUG") != "off":
            yield f"{name} routes by headers that error-envelope has not seen (KONG_REQUEST_DEBUG)"
        if "KONG_ADMIN_LISTEN" in environment:
            yield f"{name} decides where its Admin API listens in start.sh, not here"
        if not _on_a_volume(environment["KONG_PREFIX"], node, document):
            yield f"{name} keeps what it was told on no volume"
        if environment["ADMIN_NAME"] not in networks(node)["gateway-admin"]:
            yield f"{name} has no address of the name ADMIN_NAME"
    near = {
        name for name, each in document["services"].items() if "gateway-admin" in networks(each)
    }
    if near != {*nodes, *ADMINS}:
        yield f"the Admin API is within reach of {sorted(near - {*nodes, *ADMINS})}"


def _published_twice(document: Document) -> Iterator[str]:
    """Two services that publish the same port of the machine: the second one never starts."""
    taken: dict[str, str] = {}
    for name, service in document["services"].items():
        for published in service.get("ports", ()):
            port = re.findall(r"\d+", str(published))[-2]
            if port in taken:
                yield f"port {port} is published by {taken[port]} and {name}"
            taken[port] = name


def _on_a_volume(path: str, node: Mapping[str, Any], document: Document) -> bool:
    mounts = [volume.split(":") for volume in node.get("volumes", ())]
    return any(source in document["volumes"] and path.startswith(at) for source, at, *_ in mounts)


def haproxy() -> str:
    return (REPOSITORY / "deploy" / "haproxy" / "haproxy.cfg").read_text()
