"""Fixtures: a stack for the Python client of docs/partner/samples."""

from collections.abc import Generator

import pytest

from tests.e2e.conftest import LocalStack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalStack]:
    """A stack for the session."""
    running = LocalStack(tmp_path_factory.mktemp("stack") / "state")
    running.started()
    yield running
    running.end()
