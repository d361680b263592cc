"""The load tests' report, as a browser shows it: its charts are there, and it asks nobody."""

from pathlib import Path

import pytest

from loadtests import report
from loadtests.measures import Run, measure
from loadtests.records import Outcome, Request
from loadtests.series import charts
from loadtests.verdict import judge
from tests.browser.visits import Visit, visit
from tests.loadtests.made_runs import ABOUT, START, WELL, good_run, shipped_thresholds
from tests.needs import PACKAGES

pytestmark = [
    pytest.mark.browser,
    pytest.mark.needs("chromium", PACKAGES),
    pytest.mark.timeout(120),
]


def opened(folder: Path, run: Run, change: str = "") -> Visit:
    """Open the report of a run; `change` is put at the end of its body."""
    verdict = judge(measure(run), shipped_thresholds(), WELL)
    page = report.render(ABOUT, verdict, run, charts(run, 200.0, 5.0), [])
    place = folder / "report.html"
    place.write_text(page.replace("</body>", f"{change}</body>"))
    return visit(place.as_uri(), "Thresholds")


def failing_run() -> Run:
    run = good_run()
    run.requests.append(Request(START + 5, 0.01, "product-page", 200, Outcome.WRONG, "a lie"))
    return run


@pytest.mark.parametrize(("run", "word"), [(good_run(), "PASS"), (failing_run(), "FAIL")])
def test_a_report_shows_its_verdict_and_its_charts_and_asks_nobody(
    run: Run, word: str, tmp_path: Path
) -> None:
    seen = opened(tmp_path, run)
    assert (seen.errors, seen.refused) == ([], [])
    assert [each for each in seen.requests if not each.startswith("data:")] == [
        (tmp_path / "report.html").as_uri()
    ]
    assert f"{word}: smoke" in seen.text
    assert ("a lie" in seen.text) == (word == "FAIL")
    assert len(seen.drawings) == 8
    for each in seen.drawings:
        assert each.width > 600, each
        assert each.height > 100, each
        assert each.words, each
    assert sum(bool(each.lines) for each in seen.drawings) >= 7
    assert all(right - left > 100 for left, right in seen.drawings[0].lines), seen.drawings[0]


def test_a_report_that_asks_another_host_is_found(tmp_path: Path) -> None:
    # The page's own policy refuses it, and says so in the console.
    seen = opened(tmp_path, good_run(), '<img src="http://127.0.0.1:9/x.png">')
    assert any("Content Security Policy" in each for each in seen.errors)


def test_a_chart_without_points_is_a_sentence_instead(tmp_path: Path) -> None:
    run = good_run()
    run.requests.clear()
    seen = opened(tmp_path, run)
    assert "Not measured in this run." in seen.text
    assert len(seen.drawings) == 5  # users, webhooks, memory, and two of the generator


def test_a_line_that_is_not_drawn_is_found(tmp_path: Path) -> None:
    seen = opened(tmp_path, good_run(), "<style>polyline { stroke: none !important }</style>")
    assert not any(each.lines for each in seen.drawings)
