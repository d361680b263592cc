"""Documents: read what our papers name: links, paths, commands, settings, tests."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PLACES = ("*.md", "docs/**/*.md", "requirements/**/*.md", "openspec/**/*.md", "specs/**/*.md")
READMES = ("services/README.md", "benchmarks/README.md", "gateway/plugins/README.md")

BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`((?:[^`\n]|\n(?!\n))+)`")  # may go on in the next line
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(r"(?<![\w/.:$<{-])((?:\.?[\w*-]+/)+[\w.*-]*)")
FILE = re.compile(r"(?<![\w/.*<-])([a-z_]\w*\.(?:py|lua))\b(?!/)")
TEST = re.compile(r"\b(tests/[\w/]+\.py)::(\w+)")
VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
TARGET = re.compile(r"\bmake ([a-z][a-z-]*)")
MODULE = re.compile(r"python3? -m ([a-z_][\w.]*)")
PROGRAM = re.compile(r"\.venv/bin/([\w.-]+)")
OURS = re.compile(r"\bpartnerapi\b(?!/)")
# What ends a command in a shell: an operator, a redirection, a remark, or the end of $( ).
ENDS_COMMAND = re.compile(r"\s(?:\||&&|\|\||;|#|\d?>|<).*|[);`].*")
INNER = re.compile(r"\$\([^()]*\)")  # a command within a command's words
GAP = re.compile(r"(?:\s{2,}|\s\(|\s->).*")  # before an explanation beside a command
SHELLS = ("console", "sh", "bash")


@dataclass(frozen=True)
class Document:
    """One paper."""

    path: Path
    text: str

    @cached_property
    def blocks(self) -> list[tuple[str, str]]:
        """The fenced blocks with their language."""
        return BLOCK.findall(self.text)

    @cached_property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return BLOCK.sub("", self.text)

    @cached_property
    def code(self) -> str:
        """Everything that is set as code."""
        return "\n".join([*SPAN.findall(self.prose), *(body for _, body in self.blocks)])

    def links(self) -> Iterator[tuple[str, str]]:
        """Yield the relative links: file and heading, either may be empty."""
        for target in LINK.findall(self.prose):
            if not re.match(r"[a-z]+:", target):
                file, _, heading = target.partition("#")
                yield file, heading

    def headings(self) -> set[str]:
        """Return the headings as links name them."""
        found = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in found}

    def commands(self) -> Iterator[list[str]]:
        """Yield the words after each `partnerapi`; `a|b` are alternatives."""
        lines = [(span.replace("\n", " "), False) for span in SPAN.findall(self.prose)]
        for language, body in self.blocks:
            joined = re.sub(r"\\\n\s*", "", body)
            lines += [(line, language in SHELLS) for line in joined.splitlines()]
        for line, is_shell in lines:
            for start in OURS.finditer(line):
                yield words_of(line[start.end() :], is_shell=is_shell)


def words_of(rest: str, *, is_shell: bool) -> list[str]:
    """Return the words of a command's rest."""
    if not is_shell:
        rest = GAP.sub("", re.sub(r"\s*\|\s*", "|", rest))
    rest = INNER.sub("X", rest)
    rest = ENDS_COMMAND.sub("", rest)
    try:
        return shlex.split(rest, comments=is_shell)
    except ValueError:
        return rest.split()


def read(path: Path) -> Document:
    """Read one document."""
    return Document(path, path.read_text("utf-8"))


def documents() -> list[Document]:
    """Return all papers of the repository."""
    paths = {path for place in PLACES for path in REPOSITORY.glob(place)}
    paths |= {REPOSITORY / name for name in READMES}
    return [read(path) for path in sorted(paths)]
