"""The partner guide: typed as it stands, in order, by somebody who has a sandbox key; and exact."""

import os
import re
import shutil
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from services.local.children import free_port
from tests.e2e.conftest import SANDBOX_HOST, LocalStack
from tests.recipes.console import commands_of, run, told
from tests.samples.languages import NEEDED, SAMPLES, curl
from tests.samples.sandbox_address import SandboxAddress
from tools.contract.document import load_document

pytestmark = pytest.mark.long

GUIDE = SAMPLES.parent
PAGES = ("quick-start", "querying-and-syncing", "webhooks", "errors-and-limits", "sandbox")
LEAST = 30  # commands
WITHIN = 90.0  # seconds for all; about 25 when nothing else runs
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


@pytest.fixture
def folder(tmp_path: Path) -> Generator[Path]:
    """A copy of the guide; what the typed commands started and did not end is ended."""
    copied = tmp_path / "partner"
    shutil.copytree(GUIDE, copied, ignore=shutil.ignore_patterns("build"))
    yield copied
    for process in Path("/proc").glob("[0-9]*"):
        try:
            there = (process / "cwd").resolve() == copied
        except OSError:
            continue
        if there:
            os.kill(int(process.name), signal.SIGKILL)


@pytest.mark.needs(*NEEDED["java"], *NEEDED["curl"])
@pytest.mark.timeout(WITHIN + 60)
def test_every_command_of_the_guide_does_what_it_says(
    folder: Path, sandbox: SandboxAddress
) -> None:
    commands = [each for page in PAGES for each in commands_of(folder / f"{page}.md")]
    assert len(commands) >= LEAST
    port = free_port()
    known = {
        "INVENTORY_URL": sandbox.url,  # what a line in /etc/hosts does for the local stack's name
        "INVENTORY_KEY": sandbox.key,
        "PORT": str(port),
        "HOOK_URL": f"http://localhost:{port}/hooks/stock",
        "OLDEST_SECONDS": "0",  # else the first delta sync waits for 30
        "NO_PROXY": "*",
        "LC_ALL": "C.UTF-8",
    }
    run(commands, folder, known, WITHIN)
    faults = [each for each in commands if each.fault]
    assert not faults, told(faults, GUIDE / "(a page of the guide)")


@pytest.mark.needs(*NEEDED["curl"])
def test_curl_finds_the_local_sandbox_by_its_name(stack: LocalStack) -> None:
    language = curl()
    known = {
        "INVENTORY_URL": f"http://{SANDBOX_HOST}:{stack.base}",
        "INVENTORY_KEY": stack.key("sandbox"),
    }
    done = language.run(language.query, "NO-SUCH-ONE", env=known)
    assert done.returncode == 0, done.stderr
    assert '"not_found":["NO-SUCH-ONE"]' in done.stdout


def test_every_error_code_of_the_contract_has_its_advice() -> None:
    contract = load_document()
    codes = set(contract["components"]["schemas"]["ErrorCode"]["enum"])
    page = (GUIDE / "errors-and-limits.md").read_text("utf-8")
    table = page.partition("## What your program does")[2].partition("```")[0]
    advised = set(re.findall(r"\d{3} `([A-Z_]+)`", table))
    assert advised == codes


def test_every_status_beside_a_code_is_the_contracts() -> None:
    stated: set[tuple[str, str]] = set()
    for row in re.findall(r"^\s*\| (\d{3}) \| `([A-Z_]+)` \|", _description(), re.MULTILINE):
        stated.add(row)
    for page in GUIDE.glob("*.md"):
        for pair in re.findall(r"(\d{3}) `([A-Z_]+)`", page.read_text("utf-8")):
            assert pair in stated, f"{page.name}: {pair}"


def test_the_numbers_of_the_tiers_are_the_contracts() -> None:
    tiers = dict(
        re.findall(r"^\s*\| (basic|standard|premium) \| (\d+) \|", _description(), re.MULTILINE)
    )
    page = (GUIDE / "errors-and-limits.md").read_text("utf-8")
    assert {name: number for number, name in re.findall(r"(\d+) \((\w+)\)", page)} == tiers


def test_no_link_leaves_the_guide() -> None:
    """Partners have this folder only. That links lead somewhere, tests/documents looks at."""
    for page in GUIDE.rglob("*.md"):
        for path in LINK.findall(page.read_text("utf-8")):
            inside = (page.parent / path).resolve().is_relative_to(GUIDE)
            assert inside, f"{page.name}: {path}"


def _description() -> str:
    return load_document()["info"]["description"]
