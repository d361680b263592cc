"""The visits of this folder notice what they are there to notice."""

from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.browser.visits import visit
from tests.needs import PACKAGES

PAGE = b"""<!doctype html><title>faults</title><p>a page with faults</p>
<script>console.error("said aloud"); setTimeout(() => { throw new Error("thrown"); });</script>
<img src="/missing.png"><img src="http://127.0.0.2:9/elsewhere.png">"""


class Faulty(BaseHTTPRequestHandler):
    """Serves one page, and 404 for all else."""

    def do_GET(self) -> None:
        is_page = self.path == "/"
        self.send_response(200 if is_page else 404)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE if is_page else b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base's name
        """Say nothing."""


@pytest.fixture
def faulty_page() -> Generator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Faulty) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.browser
@pytest.mark.needs("chromium", PACKAGES)
@pytest.mark.timeout(120)
def test_errors_refusals_and_other_hosts_are_seen(faulty_page: str) -> None:
    seen = visit(f"http://{faulty_page}/", "a page with faults")
    told = " ".join(seen.errors)
    assert "said aloud" in told
    assert "thrown" in told
    assert any(each.startswith("404 ") for each in seen.refused)
    assert seen.hosts == {faulty_page, "127.0.0.2:9"}
