"""docs/configuration.md: what the code says; a setting without words is found."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from services.query.settings import QuerySettings
from services.schema.migrate import ROLES
from tests.documents.reading import REPOSITORY
from tools import configuration_page
from tools.configuration_page import PAGE, UndocumentedError, page, settings_of, values_of

READERS = {"environ", "environment", "getenv", "is_set"}


class Planted(QuerySettings, kw_only=True):
    """Query's, and one more."""

    planted_seconds: float = 1


class Told(QuerySettings, kw_only=True):
    """Query's, and one more that says what it is for."""

    told_seconds: float = 1  # for a test


def variables(source: str) -> Iterator[str]:
    """Yield each name that a source asks the environment for."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=asked), args=[ast.Constant(value=name), *_]):
                asker = ast.unparse(asked)
            case ast.Call(func=ast.Name(id=asker), args=[ast.Constant(value=name), *_]):
                pass
            case ast.Subscript(value=asked, slice=ast.Constant(value=name)):
                asker = ast.unparse(asked)
            case _:
                continue
        if asker.rpartition(".")[2] in READERS and re.fullmatch(r"[A-Z][A-Z0-9_]+", str(name)):
            yield str(name)


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == page(), "docs/configuration.md is old; run: make docs"


def test_a_setting_without_words_is_found() -> None:
    with pytest.raises(UndocumentedError, match=r"Planted\.planted_seconds: say in a comment"):
        settings_of({"planted": Planted})


def test_a_setting_that_is_not_on_the_page_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    query = next(iter(configuration_page.SERVICES))
    monkeypatch.setattr(
        configuration_page, "SERVICES", {**configuration_page.SERVICES, query: {"partner": Told}}
    )
    assert "| `TOLD_SECONDS` | all | a number | `1` | For a test. |" in page()
    assert PAGE.read_text() != page()


def test_a_pattern_without_words_is_found() -> None:
    with pytest.raises(UndocumentedError, match="say in PATTERNS what it means"):
        values_of(Annotated[str, msgspec.Meta(pattern="^x$")])


def test_a_variable_of_compose_yaml_without_words_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    planted = tmp_path / "compose.yaml"
    planted.write_text(configuration_page.COMPOSE.read_text() + "\nx-planted: ${PLANTED_PORT:-1}\n")
    monkeypatch.setattr(configuration_page, "COMPOSE", planted)
    with pytest.raises(UndocumentedError, match="PLANTED_PORT"):
        page()


def test_every_variable_that_a_program_reads_is_on_the_page() -> None:
    told, found = PAGE.read_text(), set[str]()
    for path in (REPOSITORY / "services").rglob("*.py"):
        found.update(variables(path.read_text()))
    assert {"PARTNERAPI_STATE_DIR"} <= found
    assert {name for name in found if f"`{name}`" not in told} == set()


def test_a_variable_that_is_read_is_found() -> None:
    source = 'a = os.environ["PLANTED_A"]; b = os.environ.get("PLANTED_B", ""); is_set("C_C", e)'
    assert set(variables(source)) == {"PLANTED_A", "PLANTED_B", "C_C"}


def read_somewhere() -> set[str]:
    """Return every attribute that a program reads of anything."""
    return {
        node.attr
        for path in (REPOSITORY / "services").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


def test_every_setting_is_used() -> None:
    read = read_somewhere()
    assert "planted_seconds" not in read
    # Those of migrate are read by the names of the roles (services/schema/commands.py).
    roles = {f"{role}_database_url" for role in ROLES}
    structs = {
        struct for programs in configuration_page.SERVICES.values() for struct in programs.values()
    }
    named = {name for struct in structs for name in struct.__struct_fields__}
    assert named - roles - read == set()
