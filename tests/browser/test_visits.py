"""The visits of this folder notice what they are there to notice."""

from collections.abc import Generator
from contextlib import closing

import pytest

from tests.browser.visits import visit
from tests.gateway.recording_service import RecordingService, answers, response
from tests.needs import PACKAGES

PAGE = b"""<!doctype html><title>faults</title><p>a page with faults</p>
<script>console.error("said aloud"); setTimeout(() => { throw new Error("thrown"); });</script>
<img src="/missing.png"><img src="http://127.0.0.2:9/elsewhere.png">"""


@pytest.fixture
def faulty_page() -> Generator[str]:
    with closing(RecordingService(usual=answers(response(404), keep=False))) as service:
        page = response(200, PAGE, {"Content-Type": "text/html"})
        service.behave("/", answers(page, keep=False))
        yield f"127.0.0.1:{service.port}"


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
