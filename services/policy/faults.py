"""Faults: a fault of a kong.yml with its line, and words for it."""

import difflib
from collections.abc import Iterable
from typing import NamedTuple


class Fault(NamedTuple):
    """A fault on a line (from 1), with the words to write instead."""

    line: int
    sentence: str


def or_list(names: Iterable[object]) -> str:
    """Return `a, b or c`."""
    *others, last = [str(name) for name in names]
    return f"{', '.join(others)} or {last}" if others else last


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name to write instead of an unknown one, as the end of a sentence."""
    known = sorted(known)
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"there is {or_list(known)}" if known else "there is none"
