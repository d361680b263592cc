"""Languages: how the samples of docs/partner/samples are run, and what each needs."""

import os
import signal
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import REPOSITORY
from tests.javascript_library import node
from tools.waiting import wait_for

SAMPLES = REPOSITORY / "docs" / "partner" / "samples"
WITHIN = 30.0  # seconds for one run of a sample
LISTENING = "listening on port "
NEEDED = {"java": ("java", "javac"), "javascript": (), "curl": ("curl", "openssl", "jq")}


@dataclass(frozen=True)
class Language:
    """The commands of one language's samples; each takes further arguments."""

    name: str
    query: list[str]
    sync: list[str]
    receiver: list[str]  # empty if there is none

    def run(
        self, command: list[str], *arguments: str, env: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*command, *arguments],
            env=environment(env),
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )


@dataclass(frozen=True)
class Receiver:
    """A running receiver: its address, and the file of what it prints."""

    url: str
    log: Path

    def wait_for(self, line: str) -> None:
        """Wait until it has printed a line."""
        wait_for(lambda: line in self.lines(), f"{line!r} of the receiver; it printed {self.log}")

    def lines(self) -> list[str]:
        """Return what it has printed."""
        return self.log.read_text("utf-8").splitlines()


@contextmanager
def receiving(language: Language, folder: Path, secret: str) -> Generator[Receiver]:
    """Run a language's receiver for the length of a with block."""
    log = folder / "receiver.log"
    given = environment({"PORT": "0", "WEBHOOK_SECRET": secret})
    with (
        log.open("w") as output,
        subprocess.Popen(language.receiver, env=given, stdout=output, stderr=output) as process,
    ):
        try:
            wait_for(lambda: LISTENING in log.read_text(), "a receiver that listens")
            port = log.read_text().partition(LISTENING)[2].split()[0]
            yield Receiver(f"http://127.0.0.1:{port}/hooks/stock", log)
        finally:
            process.send_signal(signal.SIGTERM)


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a sample; ids that are not ASCII are printed as they are."""
    return {**os.environ, "LC_ALL": "C.UTF-8", "NO_PROXY": "*", **more}


def compile_java(folder: Path) -> None:
    """Compile the Java samples into a folder."""
    sources = sorted(map(str, (SAMPLES / "java").glob("*.java")))
    lint = ["-Xlint:all,-serial", "-Werror"]
    done = compiled(*lint, "-d", str(folder), *sources)
    assert done.returncode == 0, done.stderr


def java(folder: Path) -> Language:
    """Return the Java samples, which were compiled into a folder."""
    start = ["java", "-XX:TieredStopAtLevel=1", "-cp", str(folder)]  # quick to start
    return Language(
        "java",
        [*start, "example.inventory.InventoryClient"],
        [*start, "example.inventory.DeltaSync"],
        [*start, "example.inventory.WebhookReceiver"],
    )


def compiled(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run javac for Java 17."""
    return subprocess.run(
        ["javac", "--release", "17", *arguments],
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )


def javascript() -> Language:
    """Return the JavaScript samples, run by the Node.js of the development packages."""
    folder = SAMPLES / "javascript"
    command = {
        name: [node(), str(folder / f"{name}.mjs")] for name in ("client", "sync", "receiver")
    }
    return Language("javascript", command["client"], command["sync"], command["receiver"])


def curl() -> Language:
    """Return the shell's samples."""
    folder = SAMPLES / "curl"
    return Language("curl", [str(folder / "query.sh")], [str(folder / "sync.sh")], [])


def in_each(*languages: str) -> pytest.MarkDecorator:
    """Return the mark that runs a test with the samples of each of these languages."""
    each = [pytest.param(name, marks=pytest.mark.needs(*NEEDED[name])) for name in languages]
    return pytest.mark.parametrize("language", each, indirect=True)
