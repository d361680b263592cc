"""Programs: what tests start beyond Python's packages, in one table.

`python3 tests/programs.py` names those that this machine lacks and fails if there are any; with
`--packages` it prints the Debian packages that bring them. Needs no package: CI runs it first.
"""

import os
import shutil
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """A program that is no part of a minimal Debian with Python."""

    purpose: str
    package: str  # of Debian; empty: it has none, and no target but the one that names it asks
    names: tuple[str, ...] = ()  # where it is not called as in the table


TABLE = {
    "chromium": Program(
        "the pages of both APIs and of the load test's report",
        "chromium",
        ("chromium", "chromium-browser", "google-chrome"),
    ),
    "curl": Program("the commands of the documents, the samples for the shell", "curl"),
    "haproxy": Program("the load balancer of compose.yaml", "haproxy"),
    "java": Program("the samples in Java", "default-jdk-headless"),
    "javac": Program("the samples in Java and for Spring", "default-jdk-headless"),
    "jq": Program("the commands of the documents, the samples for the shell", "jq"),
    "kong": Program("GATEWAY=kong make test-gateway", ""),
    "luajit": Program("the gateway's plugins in Debian's LuaJIT", "luajit"),
    "openssl": Program("the samples for the shell, which sign", "openssl"),
    "prometheus": Program("the deployed jobs and rules on running services", "prometheus"),
    "promtool": Program("the alert rules and their cases", "prometheus"),
}


def find(name: str) -> str | None:
    """Return the path of a program of the table, None if this machine lacks it."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin"  # where Debian has haproxy
    found = (shutil.which(each, path=path) for each in TABLE[name].names or (name,))
    return next(filter(None, found), None)


def path_of(name: str) -> str:
    """Return the path of a program that the test names in its mark `needs`."""
    found = find(name)
    if found is None:
        msg = f"missing: {described(name)}"
        raise LookupError(msg)
    return found


def missing() -> dict[str, Program]:
    """Return the programs that this machine lacks and Debian has."""
    return {name: each for name, each in TABLE.items() if each.package and find(name) is None}


def described(name: str) -> str:
    """Return a program's name, its purpose, and how to install it."""
    program = TABLE[name]
    return f"{name}, for {program.purpose}: apt-get install {program.package}"


def main(arguments: list[str]) -> int:
    """Print what is missing; return the exit code."""
    if arguments == ["--packages"]:
        print(*sorted({each.package for each in missing().values()}))
        return 0
    for name in missing():
        print(f"missing: {described(name)}", file=sys.stderr)
    return 1 if missing() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
