"""State: what a stack keeps in its folder, so that a restart keeps it and other commands find it.

secrets.json, keys.json and admin-token (mode 0600) live as long as the folder, stack.json as long
as the stack.
"""

import contextlib
import fcntl
import shlex
from collections.abc import Generator
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import msgspec

from services.core.private_files import write_private
from services.local.children import StackError

T = TypeVar("T")

# partner -> environment -> key in plain text; for the local stack only, to be printed again.
KeyRing = dict[str, dict[str, str]]


class Phase(StrEnum):
    """How far a stack has come."""

    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"


class ProcessIdentity(msgspec.Struct, frozen=True):
    """A process, and no other that gets its id later."""

    pid: int
    started: int  # clock ticks from boot to its start


class ChildRecord(msgspec.Struct, frozen=True):
    """One running child."""

    process: ProcessIdentity
    ports: tuple[int, ...]
    health: str  # an address that answers 200 when it is ready; empty: its port accepting is all
    ready_word: str = ""  # what its log says when it is ready; for one without a port
    log_start: int = 0  # where this process's part of its log begins, in bytes


class StackRecord(msgspec.Struct):
    """stack.json: what runs."""

    phase: Phase
    supervisor: ProcessIdentity
    ports: dict[str, int]
    urls: dict[str, str]
    admin: dict[str, str]  # admin's settings, but for secrets
    children: dict[str, ChildRecord]
    seconds: float = 0.0  # from its start until it was up


class Secrets(msgspec.Struct, frozen=True):
    """secrets.json: made at the first start."""

    master_key: str
    backend_token: str
    passwords: dict[str, str]  # of PostgreSQL's roles

    def __repr__(self) -> str:
        """Leave the secrets out: representations end in logs and tracebacks."""
        return "Secrets()"


def identify(pid: int) -> ProcessIdentity | None:
    """Return a running process's identity; None if there is none, or only its exit code."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if after_name[0] in "ZX" else ProcessIdentity(pid, int(after_name[19]))


def is_alive(process: ProcessIdentity) -> bool:
    """Say whether this very process runs."""
    return identify(process.pid) == process


class StateFolder:
    """The folder of one stack, mode 0700."""

    def __init__(self, path: Path) -> None:
        """Take the folder's path; `make` makes it."""
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self._record = self.path / "stack.json"
        self._secrets = self.path / "secrets.json"
        self._keys = self.path / "keys.json"
        self._token = self.path / "admin-token"

    def make(self) -> None:
        """Make the folder if there is none, and close it to others."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            self.logs.mkdir(exist_ok=True)
        except OSError as exc:
            msg = f"the state folder {self.path} can't be used: {exc.strerror}"
            raise StackError(msg) from exc

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Hold the folder for this process; the kernel lets go when it dies, however it does."""
        with (self.path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                raise StackError(self.told_taken()) from exc
            yield

    @property
    def option(self) -> str:
        """What names this folder in a command; nothing for the default one."""
        return "" if self._is_default else f" --state-dir {shlex.quote(str(self.path))}"

    @property
    def variable(self) -> str:
        """What names this folder in front of a command that has no such option."""
        return "" if self._is_default else f"PARTNERAPI_STATE_DIR={shlex.quote(str(self.path))} "

    @property
    def _is_default(self) -> bool:
        return self.path == Path.cwd() / ".stack"

    def told_taken(self) -> str:
        """Return the line for who starts a second stack here."""
        record = self.running()
        who = f" (pid {record.supervisor.pid})" if record else ""
        return f"a stack runs already in {self.path}{who}; `partnerapi down{self.option}` ends it"

    def log(self, name: str) -> Path:
        """Return the path of a child's log."""
        return self.logs / f"{name}.log"

    def record(self) -> StackRecord | None:
        """Return what a stack left here, running or not."""
        try:
            return self._read(self._record, StackRecord)
        except StackError:
            return None  # of another release, and nothing in it is needed

    def running(self) -> StackRecord | None:
        """Return the record of a stack that runs, if one does."""
        record = self.record()
        return record if record is not None and is_alive(record.supervisor) else None

    def write_record(self, record: StackRecord) -> None:
        """Store what runs."""
        write_private(self._record, msgspec.json.encode(record))

    def remove_record(self) -> None:
        """Forget what ran."""
        self._record.unlink(missing_ok=True)

    def keys(self) -> KeyRing:
        """Return the keys that were made for this stack."""
        return self._read(self._keys, KeyRing) or {}

    def write_keys(self, keys: KeyRing) -> None:
        """Store the keys."""
        write_private(self._keys, msgspec.json.encode(keys))

    def token(self) -> str | None:
        """Return the token of this stack's own commands, if the folder has one."""
        try:
            return self._token.read_text("utf-8").strip()
        except FileNotFoundError:
            return None

    def write_token(self, token: str) -> None:
        """Store the token."""
        write_private(self._token, f"{token}\n".encode())

    def secrets(self) -> Secrets | None:
        """Return the secrets, if the folder has them. Raises StackError."""
        return self._read(self._secrets, Secrets)

    def write_secrets(self, found: Secrets) -> None:
        """Store the secrets."""
        write_private(self._secrets, msgspec.json.encode(found))

    def _read(self, path: Path, kind: type[T]) -> T | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as exc:
            msg = f"{path} can't be read ({exc}): mend it, or remove {self.path} to start afresh"
            raise StackError(msg) from exc
        except OSError as exc:
            msg = f"{path} can't be read: {exc.strerror}"
            raise StackError(msg) from exc


def stack_environment(state_dir: Path) -> dict[str, str] | None:
    """Return the settings of commands for the stack that runs in a folder; None if none does.

    Where admin is and the stack's own token, and for the few that use the database admin's own.
    """
    folder = StateFolder(state_dir)
    record, found = folder.running(), folder.secrets()
    if record is None or found is None:
        return None
    called = {"ADMIN_URL": record.urls["admin"], "ADMIN_TOKEN": folder.token() or ""}
    return {**admin_environment(record, found), **called}


def admin_environment(record: StackRecord, found: Secrets) -> dict[str, str]:
    """Return admin's settings, as environment variables."""
    return {
        **record.admin,
        "ADMIN_DATABASE_URL": database_url(record.ports["postgres"], "admin", found),
        "MASTER_KEYS": found.master_key,
    }


def mail_folder(state_dir: Path) -> Path:
    """Return where the mail sink of a state folder keeps mail."""
    return state_dir / "mail"


def database_url(port: int, role: str, found: Secrets) -> str:
    """Return the stack's database address for a role such as live_query."""
    return f"postgresql://{role}:{found.passwords[role]}@127.0.0.1:{port}/postgres"
