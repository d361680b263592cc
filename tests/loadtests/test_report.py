"""Report: one page with everything in it, and the files for machines."""

import json
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from loadtests import machines, report
from loadtests.measures import Health, Run, measure
from loadtests.records import Outcome, Request
from loadtests.series import charts
from loadtests.svg import nice
from loadtests.verdict import Verdict, judge
from tests.loadtests.made_runs import ABOUT, START, WELL, good_run, shipped_thresholds

VOID = ("meta", "link", "br")


class Page(HTMLParser):
    """Reads a page: its tags, where they refer to, and whether they are closed."""

    def __init__(self, text: str) -> None:
        """Read it."""
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.references += [v or "" for k, v in attrs if k in ("src", "href", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that is closed at once."""
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        """Close the last one."""
        assert self.open.pop() == tag


def _verdict(run: Run, health: Health = WELL) -> Verdict:
    return judge(measure(run), shipped_thresholds(), health)


def _page(run: Run) -> str:
    return report.render(ABOUT, _verdict(run), run, charts(run, 200.0, 5.0), [])


def test_the_page_has_every_chart_and_refers_to_nothing_outside_itself() -> None:
    page = Page(_page(good_run()))
    assert page.open == []
    assert page.tags.count("svg") == 8
    assert page.tags.count("polyline") >= 10
    assert "script" not in page.tags
    assert page.references == ["data:,"]


def test_the_page_says_the_verdict_and_its_reason() -> None:
    run = good_run()
    run.requests.append(Request(START + 5, 0.1, "product-page", 502, Outcome.ERROR, "502: away"))
    text = _page(run)
    assert "<title>FAIL: smoke</title>" in text
    assert "requests without a right answer: 1, at most 0" in text
    assert "product-page: 502: away" in text


def test_what_a_build_answers_can_not_become_markup() -> None:
    run = good_run()
    told = "<script>alert(1)</script>"
    run.requests.append(Request(START + 5, 0.1, "product-page", 500, Outcome.ERROR, told))
    assert "script" not in Page(_page(run)).tags


def test_a_run_without_webhooks_says_so_in_place_of_the_chart() -> None:
    run = good_run()
    run.delivered = None
    page = _page(run)
    assert Page(page).tags.count("svg") == 7
    assert "Not measured in this run." in page


def test_the_json_has_what_the_verdict_rests_on() -> None:
    run = good_run()
    read = json.loads(machines.as_json(ABOUT, _verdict(run), run, []))
    assert (read["verdict"], read["profile"]) == ("PASS", "smoke")
    limits = {each["name"]: each for each in read["thresholds"]}
    assert limits["delivered_percent"]["measured"] == 100
    assert limits["knee_users_at_least"]["result"] == "not judged"


def test_junit_has_a_failure_for_each_threshold_that_was_not_kept() -> None:
    run = good_run()
    run.requests.append(Request(START + 5, 0.1, "product-page", 502, Outcome.ERROR, "<&>"))
    suite = ElementTree.fromstring(machines.as_junit(ABOUT, _verdict(run)))
    assert (suite.get("failures"), suite.get("errors")) == ("1", "0")
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed == ["errors"]
    assert len(suite) == int(suite.get("tests", 0))


def test_junit_has_an_error_and_no_failure_when_the_generator_was_the_limit() -> None:
    run = good_run()
    run.requests = run.requests[:10]
    verdict = _verdict(run, Health(99.0, 1.0))
    suite = ElementTree.fromstring(machines.as_junit(ABOUT, verdict))
    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")
    assert suite.find("testcase/failure") is None
    assert suite.find("testcase[@name='load_generator']/error") is not None


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 1), (0.3, 0.5), (1, 1), (21, 25), (99, 100), (501, 1000)]
)
def test_an_axis_ends_at_a_round_number(value: float, expected: float) -> None:
    assert nice(value) == pytest.approx(expected)
