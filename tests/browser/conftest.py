"""Fixtures: a local stack of the pages' tests."""

from collections.abc import Generator

import pytest

from tests.e2e.conftest import LocalStack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalStack]:
    """A whole stack with the embedded gateway; nothing here changes it."""
    running = LocalStack(tmp_path_factory.mktemp("stack") / "state")
    running.started()
    yield running
    running.end()
