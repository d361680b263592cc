"""Documents: what a paper names, the repository has; what it tells to type can be typed."""

import re
from pathlib import Path

import pytest

from tests.documents.faults import faults
from tests.documents.reading import REPOSITORY, Document, documents

PAPERS = documents()


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: str(paper.path.relative_to(REPOSITORY)))
def test_everything_that_a_document_names_is_there(paper: Document) -> None:
    assert faults(paper) == []


def test_all_papers_are_read() -> None:
    names = {str(paper.path.relative_to(REPOSITORY)) for paper in PAPERS}
    assert {"README.md", "CHANGELOG.md", "docs/operations.md", "services/README.md"} <= names
    assert len(names) > 25


# a document's text: words of the complaint
PLANTED = {
    "[gone](gone.md)": "link gone.md",
    "[there](README.md#nowhere)": "no such heading",
    "tests/gone/test_it.py shows it": "path tests/gone/test_it.py",
    "`services/query/gone.py`": "path services/query/gone.py",
    "see gone_module.py": "file gone_module.py",
    "tests/contract/test_style.py::test_gone": "there is no such test",
    "`make gone`": "make gone",
    "```\nmake gone-too   # it\n```": "make gone-too",
    "```sh\n.venv/bin/gone --help\n```": ".venv/bin/gone",
    "`python -m services.gone`": "python -m services.gone",
    "`partnerapi gone`": "no command gone",
    "`partnerapi up | gone`": "no command gone",
    "`partnerapi keys gone`": "no command gone",
    "```console\n$ partnerapi keys list --gone\n```": "--gone",
    "```sh\nKEY=$(partnerapi keys create acme too many --env live 2>/dev/null)\n```": "too many",
    "set `GONE_" + "SETTING=1`": "GONE_" + "SETTING",  # this file is a source too
}


@pytest.mark.parametrize("text", PLANTED)
def test_what_is_not_there_is_found(text: str) -> None:
    told = faults(Document(REPOSITORY / "PLANTED.md", text))
    assert any(PLANTED[text] in each for each in told), told


GOOD = """# A heading, with a comma
[up](#a-heading-with-a-comma) [readme](README.md#what-is-where) services/query/app.py.
tests/gateway. `make up` and `partnerapi keys create | revoke`, `partnerapi partners|keys`,
`CACHE_URL`; delta.py.
```console
$ LIVE=$(partnerapi keys create acme --env live 2>/dev/null) && partnerapi status | grep query
$ partnerapi stock import --env live stock.csv # exit 3
```
admin/v1/docs, `/partner/v1/docs` and and/or are no paths.
"""


def test_what_is_there_passes() -> None:
    assert faults(Document(Path(REPOSITORY / "PLANTED.md"), GOOD)) == []


REQUIREMENTS = REPOSITORY / "requirements" / "partner-inventory-api.md"
ROW = re.compile(r"\b([QWAD]\d{1,2})\b")


def rows_of(heading: str, column: int) -> set[str]:
    """Return the ids in one column of the tables below a heading of the requirements."""
    section = re.search(
        rf"^## {heading}\n(.*?)(?=^## |\Z)",
        REQUIREMENTS.read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert section is not None
    lines = [line.split(" | ") for line in section[1].splitlines() if line.startswith("| ")]
    return {name for cells in lines if len(cells) > column for name in ROW.findall(cells[column])}


def test_every_rule_has_a_criterion_or_is_told_to_be_open() -> None:
    ruled, shown, still_open = (
        rows_of("Rules", 0),
        rows_of("Acceptance criteria", 1),
        rows_of("Still open", 0),
    )
    assert ruled - shown == {"D2"}  # the guide's own tests run its samples
    assert still_open == {"Q6", "D3"}
    every = {f"Q{n}" for n in range(1, 14)} | {f"W{n}" for n in range(1, 13)}
    every |= {f"A{n}" for n in range(1, 10)} | {f"D{n}" for n in range(1, 6)}
    assert ruled | still_open == every
