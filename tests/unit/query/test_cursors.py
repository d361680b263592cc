"""Cursors: they come back as they were, and no other text is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.query.cursors import (
    DATABASE_BYTES,
    LENGTH,
    Cursor,
    Mark,
    NotACursorError,
    Position,
    Walk,
    decode,
    encode,
    identity,
)

numbers = st.integers(0, 2**64 - 1)  # PostgreSQL's xid8
signed = st.integers(-(2**63), 2**63 - 1)
marks = st.builds(Mark, numbers, signed, signed)
walks = st.builds(Walk, st.builds(Position, numbers, signed), marks, st.integers(1, 2**64 - 1))
cursors = st.builds(
    Cursor, st.binary(min_size=DATABASE_BYTES, max_size=DATABASE_BYTES), marks, st.none() | walks
)

EXAMPLE = encode(
    Cursor(identity("a database"), Mark(1234, 1_763_802_000_104_552, 1_763_801_995_730_118))
)


@given(cursors)
def test_a_cursor_comes_back_as_it_was(cursor: Cursor) -> None:
    text = encode(cursor)
    assert decode(text) == cursor
    assert len(text) == LENGTH
    assert text.replace("-", "a").replace("_", "a").isalnum()  # nothing that a URL must encode


@given(cursors, st.integers(0, LENGTH - 1), st.sampled_from("AZaz09-_"))
def test_a_mistyped_cursor_is_none(cursor: Cursor, place: int, letter: str) -> None:
    text = encode(cursor)
    if text[place] != letter:
        with pytest.raises(NotACursorError):
            decode(text[:place] + letter + text[place + 1 :])


@given(st.text() | st.text(alphabet="Aa0-_=+/ é", min_size=LENGTH, max_size=LENGTH))
def test_other_texts_are_no_cursors(text: str) -> None:
    with pytest.raises(NotACursorError):
        decode(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        EXAMPLE[:-1],
        EXAMPLE[:-4],
        EXAMPLE + "AAAA",
        EXAMPLE + "=",
        f" {EXAMPLE[1:]}",
        "é" * LENGTH,
    ],
    ids=["empty", "cut", "cut by bytes", "longer", "padded", "a space", "not ascii"],
)
def test_a_damaged_text_is_no_cursor(text: str) -> None:
    with pytest.raises(NotACursorError):
        decode(text)
