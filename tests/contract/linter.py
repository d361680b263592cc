"""Contract: have Redocly's linter look at a document's style (tests/javascript/redocly.yaml)."""

import json
from pathlib import Path

from tests.javascript_library import install_javascript_library, run_javascript


def style_problems(document: Path) -> list[dict[str, str]]:
    """Return what the linter complains of: rule, severity, place, message.

    Skips the test where Node.js or the linter cannot be had; in CI it fails.
    """
    install_javascript_library()
    done = run_javascript("node", "lint.mjs", str(document))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
