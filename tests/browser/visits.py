"""Visits: open a page in the Chromium of this machine, driven out of tests/javascript.

A test that visits needs `chromium` and PACKAGES.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from tests.javascript_library import run_javascript
from tests.programs import path_of


@dataclass(frozen=True)
class Drawing:
    """An SVG as it is shown; sizes in pixels."""

    width: float
    height: float
    lines: list[tuple[float, float]]  # of each visible line, from where to where in x
    words: list[str]


@dataclass(frozen=True)
class Visit:
    """What a visitor and the network saw of a page."""

    text: str
    errors: list[str]
    requests: list[str]
    refused: list[str]
    drawings: list[Drawing]

    @property
    def hosts(self) -> set[str]:
        """The hosts and ports that were asked for something; `data:` asks nobody."""
        return {urlsplit(url).netloc for url in self.requests if not url.startswith("data:")}


def visit(
    address: str, awaited: str, *, clicked: str = "", shown: str = "", screenshot: str = ""
) -> Visit:
    """Open a page, wait for a text, click an element if one is given and wait for another text."""
    words = (path_of("chromium"), address, awaited, clicked, shown, screenshot)
    done = run_javascript("node", "open_page.mjs", *words)
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=Visit)
