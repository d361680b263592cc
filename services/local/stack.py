"""Stack: one run of the local stack, from the first look at its folder to its last child's end."""

import contextlib
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.core.environments import Environment
from services.core.headers import API_KEY
from services.local import postgres
from services.local.children import StackError, port_is_free
from services.local.interrupts import Interrupts, StopRequested
from services.local.leftovers import end_leftovers
from services.local.plan import OFFSETS, POLICY, GatewayKind, Plan, make_plan
from services.local.program import HOST_OF, Stage
from services.local.provision import (
    TECHMART,
    ensure_keys,
    ensure_secrets,
    ensure_token,
    prepare_database,
    wait_until_published,
)
from services.local.readiness import http_status
from services.local.state import (
    ChildRecord,
    Phase,
    Secrets,
    StackRecord,
    StateFolder,
    admin_environment,
    identify,
)
from services.local.supervise import Supervisor
from services.schema.seed import products

QUERY = "/partner/v1/inventory"
WEBHOOKS = "/partner/v1/webhooks"


@dataclass(frozen=True)
class Options:
    """What `partnerapi up` was asked for."""

    state_dir: Path
    port_base: int
    gateway: GatewayKind
    policy: Path = POLICY
    nodes: str = ""  # admin addresses of running gateway nodes, for GatewayKind.NONE
    backend_token: str = ""  # what those nodes send


class Stack:
    """A stack that this process runs."""

    def __init__(self, options: Options, tell: Callable[[str], None]) -> None:
        """Take what was asked for, and where lines for people go."""
        self._options = options
        self._tell = tell
        self._interrupts = Interrupts()
        self.folder = StateFolder(options.state_dir)

    def run(self, announce: Callable[[StackRecord], None]) -> None:
        """Run until Ctrl-C or SIGTERM; `announce` is called once, when it is up.

        Raises StackError with one line when it can't be started.
        """
        began = time.monotonic()
        kong = find_kong() if self._options.gateway is GatewayKind.KONG else None
        self.folder.make()
        with self.folder.locked():
            end_leftovers(self.folder, self._tell)
            found = self._secrets()
            plan = make_plan(
                self.folder.path,
                self._options.port_base,
                self._options.gateway,
                found,
                policy=self._options.policy.absolute(),
                kong=kong,
                nodes=self._options.nodes,
                as_root=os.geteuid() == 0,
            )
            check_ports(plan)
            _Run(self.folder, plan, found, self._interrupts, self._tell).run(began, announce)

    def _secrets(self) -> Secrets:
        found = ensure_secrets(self.folder)
        if not self._options.backend_token:
            return found
        return Secrets(found.master_key, self._options.backend_token, found.passwords)


class _Run:
    """The children of a stack and its record, while its folder is locked."""

    def __init__(
        self,
        folder: StateFolder,
        plan: Plan,
        found: Secrets,
        interrupts: Interrupts,
        tell: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._plan = plan
        self._secrets = found
        self._interrupts = interrupts
        self._tell = tell
        this_process = identify(os.getpid())
        if this_process is None:
            msg = "the local stack needs Linux: it tells processes apart by /proc"
            raise StackError(msg)
        self._record = StackRecord(
            Phase.STARTING, this_process, plan.ports, plan.urls, plan.admin, {}
        )
        self._children = Supervisor(folder, interrupts, tell=tell, changed=self._changed)
        self._admin = admin_environment(self._record, found)

    def run(self, began: float, announce: Callable[[StackRecord], None]) -> None:
        """Start everything, watch it, end it."""
        try:
            self._bring_up()
            self._record.seconds = time.monotonic() - began
            self._set_phase(Phase.UP)
            announce(self._record)
            self._children.watch()
        except StopRequested:
            self._tell("Stopping ...")
        finally:
            self._end()
        self._tell("Stopped.")

    def _end(self) -> None:
        self._interrupts.ignore()
        with contextlib.suppress(OSError):  # the folder may have been removed meanwhile
            self._set_phase(Phase.STOPPING)
        self._children.stop()
        self._folder.remove_record()

    def _bring_up(self) -> None:
        """Start what is independent at the same time, and the rest as soon as it can run."""
        self._set_phase(Phase.STARTING)
        programs = self._plan.programs
        self._start("valkey", "mail", *self._names(Stage.GATEWAY))
        folder = self._folder.path / "postgres"
        superuser = postgres.prepare(folder, self._folder.log("initdb"))
        self._start("postgres")
        port = self._plan.ports["postgres"]
        owner_url = f"postgresql://{postgres.SUPERUSER}:{superuser}@127.0.0.1:{port}/postgres"
        self._children.wait_until(
            lambda: "" if postgres.answers(folder, owner_url) else "postgres was not ready",
            log=lambda _: self._folder.log("postgres"),
        )
        began = prepare_database(owner_url, self._secrets)
        self._children.wait_ready(["valkey"])
        self._start(*self._names(Stage.SERVICES))
        keys = ensure_keys(self._admin, self._folder.keys())
        self._folder.write_keys(keys)
        self._folder.write_token(ensure_token(self._admin, self._folder.token()))
        self._children.wait_ready(self._names(Stage.GATEWAY))
        wait_until_published(self._admin, began, self._wait_for_gateway)
        self._children.wait_ready([name for name in programs if name != "postgres"])
        self._wait_for_first_answers(keys[TECHMART.name])

    def _names(self, stage: Stage) -> list[str]:
        return [each.name for each in self._plan.programs.values() if each.stage is stage]

    def _start(self, *names: str) -> None:
        self._children.start([self._plan.programs[name] for name in names])

    def _wait_for_first_answers(self, keys: dict[str, str]) -> None:
        """Wait until a partner's requests of each service are answered in each environment.

        A gateway that has its configuration from before takes a service that starts for a broken
        one, and looks at it again later.
        """
        if "gateway" not in self._plan.urls:
            return  # admin addresses of nodes do not tell where they take requests
        for environment in Environment:
            product, _ = next(products(environment))
            headers = {"Host": HOST_OF[environment], API_KEY: keys[environment]}
            for path in (f"{QUERY}?product_ids={product}", WEBHOOKS):
                self._wait_for_answer(f"{self._plan.urls['gateway']}{path}", headers)

    def _wait_for_answer(self, address: str, headers: dict[str, str]) -> None:
        self._wait_for_gateway(
            lambda: (
                ""
                if (status := http_status(address, headers)) == 200
                else f"gateway answered {status} to a first request"
            )
        )

    def _wait_for_gateway(self, fault: Callable[[], str]) -> None:
        self._children.wait_until(fault, log=lambda _: self._folder.log("gateway"))

    def _changed(self, children: dict[str, ChildRecord]) -> None:
        self._record.children = children
        self._folder.write_record(self._record)

    def _set_phase(self, phase: Phase) -> None:
        self._record.phase = phase
        self._folder.write_record(self._record)


def find_kong() -> Path:
    """Return the `kong` on PATH. Raises StackError."""
    found = shutil.which("kong")
    if found is None:
        msg = "--gateway kong: there is no `kong` on PATH; --gateway embedded needs none"
        raise StackError(msg)
    return Path(found)


def free_port_base() -> int:
    """Return a port base of which every port is free just now, below those of outgoing calls."""
    chance = random.SystemRandom()
    while True:
        base = chance.randrange(10_000, 32_000)
        if all(port_is_free(base + offset) for offset in OFFSETS.values()):
            return base


def check_ports(plan: Plan) -> None:
    """Raise StackError when a port is taken."""
    taken = [f"{port} ({name})" for name, port in plan.ports.items() if not port_is_free(port)]
    if taken:
        plural, verb = ("ports", "are") if len(taken) > 1 else ("port", "is")
        msg = f"{plural} {', '.join(taken)} {verb} taken; choose others with --port-base"
        raise StackError(msg)
