"""Rules and board ask only for metrics that exist, and every alert is tried and explained."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.programs import path_of

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
BOARD = ROOT / "deploy" / "grafana" / "dashboards" / "partner-inventory-sync.json"
LATENCY = {"service", "route", "workspace"}
REQUESTS = {"service", "route", "code", "source", "workspace", "consumer"}
# Prometheus' own, and Kong's: tests/gateway shows them on a node.
OTHERS: dict[str, set[str]] = {
    "up": set(),
    "kong_http_requests_total": REQUESTS,
    "kong_request_latency_ms": LATENCY,
    "kong_upstream_latency_ms": LATENCY,
    "kong_kong_latency_ms": LATENCY,
    "kong_upstream_target_health": {"upstream", "target", "address", "state", "subsystem"},
}
ROW = re.compile(r"^\| `(\w+)` \| (?:counter|gauge|histogram) \| ([^|]*)\|", re.MULTILINE)
LABEL = re.compile(r"`(\w+)`:")


def documented() -> dict[str, set[str]]:
    """Return the services' metrics and labels; tests/metrics holds docs/metrics.md to them."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    return {name: set(LABEL.findall(labels)) for name, labels in ROW.findall(text)}


SCRAPED = {"job", "instance", "environment", "le"}
NAME = re.compile(r"(?<![\w:])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])")
SELECTED = re.compile(r"([\w:]+)\{([^}]*)\}")
GROUPED = re.compile(r"\b(?:by|without)\s*\([^)]*\)")
WORDS = {"and", "or", "unless", "by", "without"}


def test_every_metric_of_a_query_exists() -> None:
    assert {e: unknown(e) for e in _queries() if unknown(e)} == {}


def test_a_query_for_a_metric_or_label_that_does_not_exist_is_found() -> None:
    assert unknown("rate(no_such_total[5m]) > 1") == {"no_such_total"}
    assert unknown('up{colour="red"}') == {"up.colour"}
    assert unknown('webhook_attempts_total{partner="acme"}') == {"webhook_attempts_total.partner"}
    assert unknown("max(webhook_oldest_due_seconds) > 60") == set()


def test_every_alert_fires_in_one_case_and_not_in_another() -> None:
    cases = yaml.safe_load((PROMETHEUS / "tests" / "alerts.yml").read_text())["tests"]
    tried = [c for case in cases for c in case["alert_rule_test"]]
    for name in _alerts():
        outcomes = {bool(c["exp_alerts"]) for c in tried if c["alertname"] == name}
        assert outcomes == {True, False}, name


def test_every_alert_leads_to_a_section_of_the_runbook() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    sections = re.findall(r"^## (\w+)$", text, re.MULTILINE)
    assert sorted(sections) == sorted(_alerts())
    for name, rule in _alerts().items():
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"


def test_the_board_has_what_grafana_needs() -> None:
    board = json.loads(BOARD.read_text())
    assert board["uid"]
    assert [v["type"] for v in board["templating"]["list"]] == ["datasource"]
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) > len(panels)
    for panel in panels:
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"


@pytest.mark.needs("promtool")
def test_promtool_accepts_configuration_and_rules_and_their_cases_pass() -> None:
    promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))
    promtool("test", "rules", str(PROMETHEUS / "tests" / "alerts.yml"))


def promtool(*arguments: str) -> None:
    """Run it; fail with what it says."""
    command = [path_of("promtool"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def unknown(query: str) -> set[str]:
    """Return the metrics, and metric.label, of a query that nothing shows."""
    known = OTHERS | documented() | {name: {"environment"} for name in _recorded()}
    faults: set[str] = set()
    for name, selectors in SELECTED.findall(query):
        labels = set(re.findall(r"(\w+)\s*[=!]", selectors))
        faults |= {f"{name}.{each}" for each in labels - SCRAPED - known.get(_base(name), labels)}
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", GROUPED.sub("", query))
    return faults | {n for n in NAME.findall(bare) if n not in WORDS and _base(n) not in known}


def _base(name: str) -> str:
    return re.sub(r"_(bucket|count|sum)$", "", name)


def _rules() -> list[dict[str, Any]]:
    files = sorted((PROMETHEUS / "rules").glob("*.yml"))
    groups = [g for file in files for g in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def _recorded() -> list[str]:
    return [rule["record"] for rule in _rules() if "record" in rule]


def _alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in _rules() if "alert" in rule}


def _queries() -> list[str]:
    panels = json.loads(BOARD.read_text())["panels"]
    return [rule["expr"] for rule in _rules()] + [
        t["expr"] for p in panels for t in p.get("targets", [])
    ]
