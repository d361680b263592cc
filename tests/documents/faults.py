"""Faults: what a document names and the repository does not have."""

import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import click
from click.exceptions import UsageError

from services.cli.main import main
from tests.documents.reading import (
    FILE,
    MODULE,
    PATH,
    PROGRAM,
    REPOSITORY,
    TARGET,
    TEST,
    VARIABLE,
    Document,
    read,
)

CODE = ("gateway", "services", "tools", "loadtests", "benchmarks", "tests")
TOP = (*CODE, "specs", "docs", "requirements", "openspec")
TOP_AND_MORE = (*TOP, "locks", ".ci", ".venv")
SOURCES = (*CODE, "specs", "docs", "Makefile", ".ci", "pyproject.toml")
TEXTS = {".py", ".lua", ".yml", ".yaml", ".toml", ".mjs", ".sql", ".sh", ".java", ".xml", ""}
# Names of others' that our text explains, and what stands for a reader's own value.
KNOWN_ELSEWHERE = re.compile(
    r"(KONG|SECBIT|PR|CAP|PG|JAVA|SPRING|FAIL)_\w+|\w+_(ID|KEY|SECRET|TOKEN)"
)


def faults(document: Document) -> list[str]:
    """Return everything that a document names and that is not there, in words."""
    found = [
        *missing_links(document),
        *missing_paths(document),
        *missing_files(document),
        *missing_tests(document),
        *missing_targets(document),
        *missing_programs(document),
        *missing_commands(document),
        *missing_variables(document),
    ]
    return list(dict.fromkeys(found))


def missing_links(document: Document) -> Iterator[str]:
    """Yield relative links that lead nowhere."""
    for file, heading in document.links():
        target = (document.path.parent / file).resolve() if file else document.path
        if file and not target.exists():
            yield f"link {file}: there is no such file"
        elif heading and target.suffix == ".md":
            known = document.headings() if target == document.path else read(target).headings()
            if heading not in known:
                yield f"link {file}#{heading}: there is no such heading"


def missing_paths(document: Document) -> Iterator[str]:
    """Yield paths of the repository, or of the document's own folder, that do not exist."""
    folder = document.path.parent
    for found in PATH.finditer(document.text):
        path = found[1].rstrip(".")
        first = path.split("/")[0]
        is_ours = first in TOP_AND_MORE or (folder != REPOSITORY and (folder / first).is_dir())
        is_whole = document.text[found.end() : found.end() + 1] not in {"$", "<", "{"}
        if is_ours and is_whole and not (exists(REPOSITORY, path) or exists_below(folder, path)):
            yield f"path {path}: there is no such file or folder"


def exists(root: Path, path: str) -> bool:
    """Say whether a path, or any that a pattern means, exists below a folder."""
    return any(True for _ in root.glob(path)) if "*" in path else (root / path).exists()


def exists_below(folder: Path, path: str) -> bool:
    """Say whether a path is the end of one in a folder that is not the whole repository's."""
    return folder != REPOSITORY and (exists(folder, path) or exists(folder, f"*/{path}"))


def missing_files(document: Document) -> Iterator[str]:
    """Yield modules that are named without a folder and are in none."""
    for name in FILE.findall(document.text):
        if name not in file_names():
            yield f"file {name}: there is none in the repository"


@cache
def file_names() -> frozenset[str]:
    """Return the names of all modules."""
    return frozenset(
        path.name
        for top in TOP
        for ending in ("*.py", "*.lua")
        for path in (REPOSITORY / top).rglob(ending)
    )


def missing_tests(document: Document) -> Iterator[str]:
    """Yield tests that do not exist."""
    for path, name in TEST.findall(document.text):
        file = REPOSITORY / path
        if not file.exists() or not re.search(
            rf"^ *def {name}\(", file.read_text("utf-8"), re.MULTILINE
        ):
            yield f"test {path}::{name}: there is no such test"


def missing_targets(document: Document) -> Iterator[str]:
    """Yield targets that the Makefile does not have."""
    known = set(
        re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE)
    )
    yield from (
        f"make {each}: no target" for each in TARGET.findall(document.code) if each not in known
    )


def missing_programs(document: Document) -> Iterator[str]:
    """Yield programs and modules that cannot be started."""
    for name in PROGRAM.findall(document.code):
        if not (Path(sys.executable).parent / name).exists():
            yield f".venv/bin/{name}: there is no such program"
    for name in MODULE.findall(document.code):
        if not is_module(name):
            yield f"python -m {name}: there is no such module"


def is_module(name: str) -> bool:
    """Say whether Python finds a module."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def missing_commands(document: Document) -> Iterator[str]:
    """Yield commands of `partnerapi` that it refuses to read."""
    for words in document.commands():
        for alternative in alternatives(words):
            fault = fault_of_command(alternative)
            if fault:
                yield f"partnerapi {' '.join(alternative)}: {fault}"


def alternatives(words: list[str]) -> list[list[str]]:
    """Write out `a|b` words, each alternative a command of its own."""
    found: list[list[str]] = [[]]
    for word in words:
        choices = [word] if word.startswith(("-", "$", "<")) else word.strip("[]").split("|")
        found = [[*before, choice] for before in found for choice in choices]
    return found


def fault_of_command(words: list[str]) -> str | None:
    """Return what click says of a command's names, options and number of arguments."""
    command: click.Command = main
    context = click.Context(main, info_name="partnerapi")
    rest = words
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name, rest = rest[0].rstrip(",.:"), rest[1:]
        below = command.get_command(context, name)
        if below is None:
            return f"no command {name}" if name.isalpha() and name.islower() else None
        command, context = below, click.Context(below, parent=context, info_name=name)
    try:
        _, extra, _ = command.make_parser(context).parse_args(list(rest))
    except UsageError as exc:
        return None if "requires an argument" in exc.message else exc.format_message()
    is_command = not isinstance(command, click.Group)
    return f"too many arguments: {extra}" if extra and is_command else None


def missing_variables(document: Document) -> Iterator[str]:
    """Yield settings, codes and other such names that no source has."""
    for name in VARIABLE.findall(document.code):
        if name not in names_in_sources() and not KNOWN_ELSEWHERE.fullmatch(name):
            yield f"{name}: no source knows this name"


@cache
def names_in_sources() -> frozenset[str]:
    """Return every name in capitals, and every field that is read from such a variable."""
    found: set[str] = set()
    for source in SOURCES:
        path = REPOSITORY / source
        files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
        for file in files:
            if file.suffix in TEXTS and "node_modules" not in file.parts:
                text = file.read_text("utf-8", errors="replace")
                found.update(VARIABLE.findall(text))
                if file.name == "settings.py":
                    found.update(
                        each.upper() for each in re.findall(r"^    (\w+):", text, re.MULTILINE)
                    )
    return frozenset(found)
