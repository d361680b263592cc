"""Contract: have Redocly's linter look at a document's style (tests/javascript/redocly.yaml)."""

import json
from pathlib import Path

from tests.javascript_library import run_javascript


def style_problems(document: Path) -> list[dict[str, str]]:
    """Return what the linter complains of: rule, severity, place, message; needs PACKAGES."""
    done = run_javascript("node", "lint.mjs", str(document))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
