"""Flows: services/README.md lists files as they import each other, so no flow goes up a layer."""

import ast
import re
from collections.abc import Iterator
from functools import cache

from tests.documents.reading import REPOSITORY, read

SERVICES = REPOSITORY / "services"
FILE = re.compile(r"( *)((?:\w+/)+[\w.]+\.py)\b")


def pairs(flow: str) -> Iterator[tuple[str, str]]:
    """Yield each file of a flow after the one that it is indented below."""
    above: list[tuple[int, str]] = []
    for line in flow.splitlines():
        indent = len(line) - len(line.lstrip())
        above = [each for each in above if each[0] < indent]
        if found := FILE.match(line):
            if above:
                yield above[-1][1], found[2]
            above.append((indent, found[2]))


@cache
def imported_by(file: str) -> set[str]:
    """Return the files of services/ that one of them imports."""
    tree = ast.parse((SERVICES / file).read_text("utf-8"))
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules = {each.module or "" for each in froms}
    modules |= {f"{each.module}.{name.name}" for each in froms for name in each.names}
    return {f"{each.removeprefix('services.').replace('.', '/')}.py" for each in modules}


def not_imported(flow: str) -> list[tuple[str, str]]:
    """Return the pairs of which the upper file does not import the lower one."""
    return [(upper, lower) for upper, lower in pairs(flow) if lower not in imported_by(upper)]


def test_each_file_of_a_flow_imports_those_below_it() -> None:
    flows = [body for _, body in read(SERVICES / "README.md").blocks]
    assert sum(len(list(pairs(body))) for body in flows) > 100
    assert [pair for body in flows for pair in not_imported(body)] == []


def test_a_flow_that_goes_back_up_is_found() -> None:
    flow = "query/entry.py\n    core/logs.py  its lines\n        query/app.py\n    query/app.py\n"
    assert not_imported(flow) == [("core/logs.py", "query/app.py")]
