"""The image without Docker: what the Dockerfile copies and installs, run as another user from /tmp.

Every program must start its work from there: read-only, without the local stack, the packages of
development or this checkout.
"""

import fnmatch
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
import pytest

from services.local.children import free_port
from tests.deployment import programs, shape
from tests.deployment.shape import REPOSITORY
from tests.deployment.wheels import PYTHON, everybodys_python
from tests.needs import WHEELS, WHEELS_FOLDER
from tools.waiting import wait_for

pytestmark = [pytest.mark.long, pytest.mark.needs(WHEELS), pytest.mark.timeout(300)]

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
NOBODY = 65534


# Without such a Python, or without root, the tests' own user runs the image.
USER = NOBODY if os.geteuid() == 0 and everybodys_python() is not None else None


@dataclass(frozen=True)
class Image:
    """What would be the root file system: app/ and venv/."""

    root: Path

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end as the image would: its environment and folder, another user."""
        return subprocess.run(
            command,
            cwd=self.root / "app",
            env=self._environment(environment),
            user=USER,
            group=USER,
            extra_groups=None if USER is None else [],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], log: IO[str]
    ) -> subprocess.Popen[bytes]:
        """Start a command in the same way."""
        return subprocess.Popen(
            [str(self.root / "venv" / "bin" / command[0]), *command[1:]],
            cwd=self.root / "app",
            env=self._environment(environment),
            user=USER,
            group=USER,
            extra_groups=None if USER is None else [],
            stdout=log,
            stderr=log,
        )

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        paths = f"{self.root}/usr/local/bin:{self.root}/venv/bin:/usr/bin:/bin"
        told = {"PATH": paths, "PYTHONPATH": str(self.root / "app"), "HOME": "/nonexistent"}
        return {**told, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", **more}


def is_ignored(path: str) -> bool:
    """Say whether .dockerignore keeps a file out; the last line that matches decides."""
    ignored = False
    for line in (REPOSITORY / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if not line or line.startswith("#"):
            continue
        tail = pattern.removeprefix("**/")
        parts = path.split("/")
        starts = ["/".join(parts[: end + 1]) for end in range(len(parts))]
        matched = any(fnmatch.fnmatchcase(start, pattern) for start in starts) or (
            tail != pattern and any(fnmatch.fnmatchcase(part, tail) for part in parts)
        )
        if matched:
            ignored = not line.startswith("!")
    return ignored


def copied() -> list[tuple[str, str]]:
    """Return what the Dockerfile's last stage copies out of the checkout, and where to."""
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    return re.findall(r"^COPY (?!--)(\S+) (\S+)$", last, re.MULTILINE)


@pytest.fixture(scope="module")
def image() -> Generator[Image]:
    """Everything at its place; the user who runs it can read it and write nothing."""
    root = Path(tempfile.mkdtemp(prefix="image-"))  # not pytest's: nobody else may enter that
    try:
        for source, target in copied():
            _copy(source, root / "app" / target if target[0] != "/" else root / target[1:])
        _install(root / "venv")
        subprocess.run(["chmod", "-R", "a+rX,go-w", root], check=True)
        yield Image(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _copy(source: str, target: Path) -> None:
    for path in [REPOSITORY / source, *(REPOSITORY / source).rglob("*")]:
        name = str(path.relative_to(REPOSITORY))
        if path.is_file() and not is_ignored(name):
            to = target / path.relative_to(REPOSITORY / source)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)


def _install(venv: Path) -> None:
    """Install as the Dockerfile does, from the same lock with the same options; ask no index."""
    words = re.sub(r"\\\n", " ", DOCKERFILE)
    install = re.search(r"&& python (-m pip .*)", words)
    assert install is not None
    told = install[1].replace("/opt/venv", str(venv))
    told = told.replace("/tmp/runtime.txt", str(REPOSITORY / "locks" / "runtime.txt"))
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", venv], check=True)
    offline = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(WHEELS_FOLDER)}
    command = [sys.executable, *shlex.split(told)]
    done = subprocess.run(command, env=offline, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def secrets(image: Image) -> Path:
    """Secrets whose servers are away: nobody listens on port 9."""
    folder = image.root / "secrets"
    subprocess.run(
        [REPOSITORY / "deploy" / "make-secrets.sh", folder], check=True, capture_output=True
    )
    folder.chmod(0o755)
    for each in folder.glob("*-url.txt"):
        text = re.sub(r"(@|//)(postgres|mail):\d+", r"\g<1>127.0.0.1:9", each.read_text())
        each.chmod(0o644)
        each.write_text(text)
    return folder


def test_the_image_holds_no_local_stack_no_tests_and_no_secrets(image: Image) -> None:
    app = image.root / "app"
    found = {str(path.relative_to(app)) for path in app.rglob("*") if path.is_file()}
    assert "specs/api/partner-inventory-api.yaml" in found
    assert "gateway/kong.yml" in found
    assert "services/query/entry.py" in found
    assert "services/schema/migrations/0002.environments.py" in found
    assert not [
        name for name in found if name.startswith("services/local") or "__pycache__" in name
    ]
    for kept_out in ("secrets/master-keys.txt", "tests/conftest.py", ".git/config", ".env"):
        assert is_ignored(kept_out), kept_out


def test_the_command_line_works_without_the_local_stack(image: Image) -> None:
    helped = image.run("partnerapi", "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "database" in helped.stdout
    up = image.run("partnerapi", "up")
    assert (up.returncode, "needs the extra `embedded`" in up.stderr) == (1, True), up.stderr
    checked = image.run("partnerapi", "gateway", "check")
    assert (checked.returncode, "no fault" in checked.stdout) == (0, True), checked.stderr


def test_a_program_without_settings_names_each_and_ends(image: Image) -> None:
    for command in programs.SETTINGS:
        done = image.run(*command)
        assert done.returncode == 2, (command, done.stderr)
        assert done.stderr.startswith("the environment does not fit:\n"), (command, done.stderr)


def test_migrate_without_a_database_says_so(image: Image, secrets: Path) -> None:
    environment = shape.read()["services"]["migrate"]["environment"]
    done = image.run("partnerapi", "database", "migrate", **programs.inside(environment, secrets))
    assert (done.returncode, done.stderr[:12]) == (4, "PostgreSQL: "), done.stderr


# One service for each command; the others differ in what they are told.
STARTED = {tuple(each["command"]): name for name, each in programs.ours(shape.read()).items()}


@pytest.mark.parametrize("name", sorted({*STARTED.values()} - {"migrate"}))
def test_every_program_starts_as_another_user_and_ends_when_told(
    image: Image, secrets: Path, tmp_path: Path, name: str
) -> None:
    service = shape.read()["services"][name]
    told = programs.inside(service["environment"], secrets)
    told = {key: re.sub(r"//valkey-\w+:\d+", "//127.0.0.1:9", told[key]) for key in told}
    told |= {"HOST": "127.0.0.1"} if "HOST" in told else {}
    for key in {"PORT", "METRICS_PORT"} & told.keys():
        told[key] = str(free_port())
    with (tmp_path / "log").open("w") as log:
        process = image.start(service["command"], told, log)
        try:
            wait_for(lambda: _is_up(process, told, tmp_path / "log"), f"{name} that serves")
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=25) in (0, -signal.SIGTERM)
        finally:
            process.kill()
            process.wait()


def _is_up(process: subprocess.Popen[bytes], told: dict[str, str], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    if "PORT" not in told:
        return "service.started" in log.read_text()
    try:
        return httpx.get(f"http://127.0.0.1:{told['PORT']}/health/live").status_code == 200
    except httpx.TransportError:
        return False
