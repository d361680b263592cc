"""Healthcheck: a container is healthy when its program answers 200, and only then."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import closing

import pytest

from tests.gateway.recording_service import RecordingService, answers, response


@pytest.fixture
def url() -> Generator[str]:
    with closing(RecordingService()) as service:
        service.behave("/503", answers(response(503, b'{"status":"unavailable"}'), keep=False))
        yield f"http://127.0.0.1:{service.port}"


def check(*urls: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.core.http.healthcheck", *urls]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_only_200_is_healthy(url: str) -> None:
    assert check(f"{url}/200").returncode == 0
    told = check(f"{url}/503")
    assert (told.returncode, told.stderr) == (1, f'{url}/503: 503 {{"status":"unavailable"}}\n')


def test_nobody_there_is_told_in_one_line() -> None:
    told = check("http://127.0.0.1:9/health/ready")
    assert (told.returncode, told.stderr.count("\n")) == (1, 1)
    assert check().returncode == 2
