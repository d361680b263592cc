"""External text: what is refused has a sentence that names the field, by every way in."""

from typing import Annotated

import msgspec
import pytest

from services.core.errors import PartnerError
from services.core.external_text import (
    TEXT_LIMIT,
    ExternalText,
    ExternalTextError,
    FitText,
    check_text,
    explained,
    visible,
)
from services.core.http.inputs import check_product_id

FIT = [
    "",
    "techmart",
    "a b",
    "Lager Süd",
    "日本",
    "😀" * 64,
    "<a&'\"%00>",
    "\u202e",
    "a\u2028b\u2029",
    "x" * TEXT_LIMIT,
]
UNFIT = {
    "\0": "no control characters: U+0000 at character 1",
    "line\n": "no control characters: U+000A at character 5",
    "a\rb": "U+000D",
    "a\tb": "U+0009",
    "a\x7fb": "U+007F",
    "a\x85b": "U+0085",
    "a\ud800b": "half of a surrogate pair: U+D800 at character 2",
    "caf\udce9": "U+DCE9",  # how Python reads a byte of the command line that is not UTF-8
    "x" * (TEXT_LIMIT + 1): "at most 1000 characters",
}


class Body(msgspec.Struct):
    """What a request may send."""

    note: ExternalText
    name: Annotated[FitText, msgspec.Meta(min_length=1, max_length=5)] = "name"


@pytest.mark.parametrize("text", FIT)
def test_text_that_can_be_stored_is_taken_as_it_is(text: str) -> None:
    assert check_text("note", text) == text
    assert msgspec.convert({"note": text}, Body).note == text
    assert visible(text) == text


@pytest.mark.parametrize(("text", "words"), UNFIT.items())
def test_other_text_is_refused_with_the_field_and_the_place(text: str, words: str) -> None:
    with pytest.raises(ExternalTextError) as refused:
        check_text("note", text)
    assert str(refused.value).startswith("`note` must ")
    assert words in str(refused.value)
    with pytest.raises(msgspec.ValidationError, match=r"\$\.note"):
        msgspec.convert({"note": text}, Body)


@pytest.mark.parametrize("text", [text for text in UNFIT if len(text) <= TEXT_LIMIT])
def test_a_message_shows_what_it_repeats_without_what_disturbs_a_log(text: str) -> None:
    assert "?" in visible(text)
    assert check_text("note", visible(text))


def test_a_field_may_have_a_limit_of_its_own() -> None:
    for text in ("", "abcdef", "a\nb"):
        with pytest.raises(ExternalTextError):
            check_text("name", text, least=1, most=5)
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"note": "", "name": text}, Body)


def test_a_body_is_refused_in_words_and_not_with_a_pattern() -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.json.decode(b'{"note": "a\\u0000"}', type=Body)
    assert explained(str(refused.value)) == "must have no control characters"


def test_product_ids_follow_the_same_rule() -> None:
    for product_id in ("a\0b", "a\x85b", "a\ud800b", "", "x" * 65):
        with pytest.raises(PartnerError, match="`product_ids"):
            check_product_id("product_ids[0]", product_id)
