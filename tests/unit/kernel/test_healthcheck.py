"""Healthcheck: a container is healthy when its program answers 200, and only then."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Generator

import pytest


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.removeprefix("/")))
        self.end_headers()
        self.wfile.write(b'{"status":"unavailable"}')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- http.server's name
        pass


@pytest.fixture
def url() -> Generator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


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
