"""What long work of a command says on standard error."""

import json

import pytest

from services.cli import progress
from services.cli.progress import ProgressLine, note


def test_where_nobody_looks_progress_is_lines_of_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINES_EVERY", 0.0)
    line = ProgressLine("deliveries")
    line(500, 1_200)
    line(1_200, 1_200)
    note("so many words", done=7)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [json.loads(each) for each in printed.err.splitlines()] == [
        {"done": 500, "total": 1_200, "of": "deliveries"},
        {"done": 1_200, "total": 1_200, "of": "deliveries"},
        {"done": 7},
    ]


def test_on_a_terminal_one_line_is_updated_and_ends_with_the_last(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "TERMINAL_EVERY", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    line = ProgressLine("deliveries")
    line(500, 1_200)
    line(1_200, 1_200)
    line.end()
    printed = capsys.readouterr().err
    assert printed == "\r500 of 1,200 deliveries\r1,200 of 1,200 deliveries\n"
    line(500, 1_200)
    line.end()
    line.end()
    assert capsys.readouterr().err == "\r500 of 1,200 deliveries\n"
