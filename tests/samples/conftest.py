"""Fixtures: a stack, its sandbox at an address that every language resolves, and the samples."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.conftest import LocalStack
from tests.samples.languages import Language, compile_java, curl, java, javascript
from tests.samples.sandbox_address import SandboxAddress


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalStack]:
    """A stack for the session."""
    running = LocalStack(tmp_path_factory.mktemp("stack") / "state")
    running.started()
    yield running
    running.end()


@pytest.fixture
def sandbox(stack: LocalStack) -> Generator[SandboxAddress]:
    """The stack's sandbox, as a partner meets it."""
    address = SandboxAddress(f"http://127.0.0.1:{stack.base}", stack.key("sandbox", partner="qa"))
    with closing(address):
        yield address


@pytest.fixture(scope="session")
def java_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled Java samples."""
    folder = tmp_path_factory.mktemp("java")
    compile_java(folder)
    return folder


@pytest.fixture
def language(request: pytest.FixtureRequest) -> Language:
    """The samples of the language that the test names."""
    if request.param == "java":
        return java(request.getfixturevalue("java_classes"))
    return {"javascript": javascript, "curl": curl}[request.param]()
