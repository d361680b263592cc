"""Wheels: fetch what locks/runtime.txt names for the Python that runs the image's tests.

`make wheels` runs this, so that no test asks pip's index.
"""

import subprocess
import sys
from pathlib import Path

from tests.deployment.shape import REPOSITORY
from tests.needs import WHEELS_FOLDER


def everybodys_python() -> Path | None:
    """Return a Python of this version that other users may run; root's own they may not."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for folder in (Path(sys.base_prefix) / "bin", Path("/usr/local/bin"), Path("/usr/bin")):
        path = (folder / version).resolve()
        if path.exists() and all(each.stat().st_mode & 0o001 for each in (path, *path.parents)):
            return path
    return None


PYTHON = everybodys_python() or Path(sys.executable)


def main() -> int:
    """Download them; return pip's exit code."""
    command = [sys.executable, "-m", "pip", "--python", str(PYTHON), "--quiet", "download"]
    command += ["--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:"]
    command += ["--dest", str(WHEELS_FOLDER), "-r", str(REPOSITORY / "locks" / "runtime.txt")]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
