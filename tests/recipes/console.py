"""Console: a document's ```console blocks typed into one shell, and what came out compared.

Lines that begin with `$ ` are commands (`> ` goes on with one); the lines below are their output,
both streams, where `...` stands for anything. Without output below, a command must only succeed.
`# exit 3` at a command's end is its exit code, when that is not 0.
"""

import doctest
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXIT = re.compile(r"\s+# exit (\d+)$")
# The commands that use the database themselves are typed inside admin's container.
INSIDE_ADMIN = re.compile(
    r"\bpartnerapi (?=secrets reseal|gateway render --output|.* --in-database)"
)
MARK = "=====recipe"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass
class Command:
    """One command of a document, what the document says of it, and what it did."""

    line: int
    text: str
    expected: str = ""
    exit_code: int = 0
    printed: str = ""
    ended: int | None = field(default=None)

    @property
    def fault(self) -> str | None:
        """What is not as the document says."""
        if self.ended != self.exit_code:
            return f"exit code {self.ended}, not {self.exit_code}"
        checker = doctest.OutputChecker()
        if self.expected and not checker.check_output(self.expected, self.printed, FLAGS):
            return f"the document says:\n{self.expected}"
        return None


def commands_of(document: Path) -> list[Command]:
    """Return the commands of a document in their order."""
    text = document.read_text("utf-8")
    found: list[Command] = []
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1)) + 1
        found += _commands(block[1].splitlines(), first)
    return found


def _commands(lines: list[str], first: int) -> Iterator[Command]:
    command: Command | None = None
    for number, line in enumerate(lines, first):
        if line.startswith("$ "):
            if command is not None:
                yield command
            command = _command(number, line[2:])
        elif line.startswith("> ") and command is not None and not command.expected:
            command.text += f"\n{line[2:]}"
        elif command is not None:
            command.expected += f"{line}\n"
    if command is not None:
        yield command


def _command(number: int, text: str) -> Command:
    code = EXIT.search(text)
    return Command(number, EXIT.sub("", text), exit_code=int(code[1]) if code else 0)


def typed(text: str) -> str:
    """Return a command as it is typed: with what admin's container has, if it belongs there."""
    return INSIDE_ADMIN.sub("env $INSIDE_ADMIN partnerapi ", text)


def run(commands: list[Command], folder: Path, environment: dict[str, str], within: float) -> None:
    """Type all commands into one bash in a folder; note what each printed and its exit code."""
    script = "".join(
        f"{{ {typed(command.text)}\n}} 2>&1\nprintf '\\n{MARK} {number} %s\\n' $?\n"
        for number, command in enumerate(commands)
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        cwd=folder,
        env={**_without_databases(os.environ), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )
    rest = done.stdout
    for number, command in enumerate(commands):
        command.printed, mark, rest = rest.partition(f"\n{MARK} {number} ")
        assert mark, f"line {command.line}: {command.text}: the shell ended here:\n{done.stderr}"
        code, _, rest = rest.partition("\n")
        command.ended = int(code)


def _without_databases(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what leads to a database, or opens what is in it."""
    leading = ("DATABASE_URL", "DATABASE_URL_FILE", "MASTER_KEYS", "MASTER_KEYS_FILE")
    return {name: value for name, value in environment.items() if not name.endswith(leading)}


def told(commands: list[Command], document: Path) -> str:
    """Return what is wrong, for a failed test."""
    return "\n\n".join(
        f"{document.name}:{each.line}: $ {each.text}\n{each.fault}\nit printed:\n{each.printed}"
        for each in commands
        if each.fault
    )
