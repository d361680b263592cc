"""The daily file, line by line."""

import csv
import hashlib
import io
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.admin.refusals import InvalidError
from services.admin.stock.csv import PLAIN_ID, Good, Skipped, StockFile, Wrong
from services.admin.stock.rows import check_id
from services.admin.stock.scratch import Scratch
from services.admin.stock.visible import invisible_fault

HEADER = Skipped(1)


def read(content: bytes) -> list[Good | Wrong | Skipped]:
    return list(StockFile(io.BytesIO(content)).lines())


@pytest.mark.parametrize(
    ("line", "product_id", "quantity"),
    [
        (b"A,5", "A", 5),
        (b"A,5\r", "A", 5),
        (b" \tA b ,\t5 ", "A b", 5),
        (b'"A","5"', "A", 5),
        (b' "A,1" , "0" ', "A,1", 0),
        (b'"42"" TV",7', '42" TV', 7),
        (b'TV 42",7', 'TV 42"', 7),
        ("café,007".encode(), "café", 7),
        (b"A,2147483647", "A", 2_147_483_647),
        (("\N{GRINNING FACE}" * 64 + ",1").encode(), "\N{GRINNING FACE}" * 64, 1),
    ],
)
def test_a_line_in_any_usual_spelling_is_read(line: bytes, product_id: str, quantity: int) -> None:
    assert read(line + b"\n") == [Good(1, product_id, quantity)]
    assert read(line) == [Good(1, product_id, quantity)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"A", "1 column: write product_id,quantity"),
        (b"A;5", "1 column"),
        (b"A,5,", "3 columns"),
        (b"A,5,6,7", "4 columns"),
        (b",5", "`product_id` must have 1 to 64 characters"),
        (b'"",5', "`product_id` must have 1 to 64 characters"),
        (b"A" * 65 + b",5", "`product_id` must have 1 to 64 characters"),
        (b"A\x00B,5", "no control characters: U+0000 at character 2"),
        (b"A\xc2\x85B,5", "no control characters: U+0085"),
        (b"A\rB,5", "no control characters: U+000D"),
        (b"A,", "quantity '' is not a whole number from 0 to 2147483647"),
        (b"A,-1", "quantity '-1' is not"),
        (b"A,5.0", "quantity '5.0' is not"),
        (b"A,1e3", "quantity '1e3' is not"),
        (b"A,1_000", "quantity '1_000' is not"),
        ("A,٣".encode(), "quantity '٣' is not"),
        (b"A,2147483648", "quantity '2147483648' is not"),
        (b"A," + b"9" * 1000, f"quantity '{'9' * 40}...' is not"),
        (b'"A,5', "a quote is left open"),
        (b'"A"B,5', "a quote is left open, or something follows a closing quote"),
        (b"A\xff,5", "not UTF-8: byte 0xff at 2"),
        (b"A" * 5_000 + b",5", "longer than 4096 bytes"),
    ],
)
def test_a_wrong_line_is_told_and_the_next_one_is_read_all_the_same(
    line: bytes, words: str
) -> None:
    wrong, after = read(line + b"\nB,6\n")
    assert isinstance(wrong, Wrong)
    assert words in wrong.reason
    assert (wrong.line, after) == (1, Good(2, "B", 6))


@pytest.mark.parametrize(
    "header",
    [b"product_id,quantity", b"\xef\xbb\xbfProduct_ID , QUANTITY", b'"product_id","quantity"'],
)
def test_a_header_and_blank_lines_are_skipped(header: bytes) -> None:
    assert read(header + b"\r\n\r\nA,5\r\n") == [HEADER, Skipped(2), Good(3, "A", 5)]
    assert read(b"\n" + header.removeprefix(b"\xef\xbb\xbf") + b"\n")[1] == Skipped(2)


def test_a_mark_of_utf_8_belongs_to_no_product() -> None:
    assert read(b"\xef\xbb\xbfA,5") == [Good(1, "A", 5)]


def test_a_second_mark_of_utf_8_is_named() -> None:
    found = read(b"\xef\xbb\xbf\xef\xbb\xbfA,5\n")
    assert found == [Good(1, "\ufeffA", 5)]
    assert "U+FEFF ZERO WIDTH NO-BREAK SPACE at character 1" in (invisible_fault("\ufeffA") or "")


@pytest.mark.parametrize(
    ("product_id", "words"),
    [
        ("A\u00a0", "no invisible characters: U+00A0 NO-BREAK SPACE at character 2"),
        ("\u200bA", "U+200B ZERO WIDTH SPACE at character 1"),
        ("A\u00adB", "U+00AD SOFT HYPHEN"),
        ("A\u202eB", "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("A\u2066", "U+2066 LEFT-TO-RIGHT ISOLATE"),
        ("A\u2028B", "U+2028 LINE SEPARATOR"),
        ("A\u2029", "U+2029 PARAGRAPH SEPARATOR"),
        ("A\u3000B", "U+3000 IDEOGRAPHIC SPACE"),
        ("A\u3164", "U+3164 HANGUL FILLER"),
        ("A\u2800", "U+2800 BRAILLE PATTERN BLANK"),
        ("A\ufe0f", "U+FE0F VARIATION SELECTOR-16"),
        ("A\U000e0041", "U+E0041 TAG LATIN CAPITAL LETTER A"),
        ("A ", "U+0020 SPACE at character 2"),
        (" A", "U+0020 SPACE at character 1"),
    ],
)
def test_an_invisible_character_is_named(product_id: str, words: str) -> None:
    assert words in (invisible_fault(product_id) or "")


def test_a_character_that_shows_is_no_invisible_one() -> None:
    for product_id in (
        "A B",
        "A  B",
        "caf\u00e9",
        "cafe\u0301",
        "\u4e2d\u6587",
        "\U0001f4a1",
        "\ue000",
    ):
        assert invisible_fault(product_id) is None


@pytest.mark.parametrize(
    ("content", "good"),
    [
        ('"OAK\nOAK",5\nB,6\n', ["B"]),
        ('"OAK\r\n",5\r\nB,6\r\n', ["B"]),
        ('"OAK\nELM,3\n\nASH,4\n",5\nB,6\n', ["B"]),  # what stands between is no line either
        ('"OAK\nELM","5\nASH,3\n"\nB,6\n', ["B"]),  # closed, and opened again at once
        ('"OAK,5\nELM,3\nB,6\n', ["ELM", "B"]),  # never closed: a line of its own
        ('"OAK,5\nTV 42",7\nB,6\n', ["B"]),
        ('"OAK,5\n"ELM",3\nB,6\n', ["ELM", "B"]),
        ('TV 42",7\nB,6\n', ['TV 42"', "B"]),
        ('"OAK,5\n' + "B,6\n" * 2_000 + 'ELM",3\n', ["B"] * 2_000 + ['ELM"']),  # too far away
    ],
)
def test_a_line_break_within_quotes_makes_no_product(content: str, good: list[str]) -> None:
    found = read(content.encode())
    assert [each.product_id for each in found if isinstance(each, Good)] == good
    assert [each.line for each in found] == list(range(1, content.count("\n") + 1))


@given(st.from_regex(PLAIN_ID, fullmatch=True))
@settings(max_examples=200, deadline=None)
def test_an_id_that_takes_the_short_way_passes_both_checks(product_id: str) -> None:
    check_id(product_id)
    assert invisible_fault(product_id) is None


VALUES = st.text(st.sampled_from('AB ",0\n'), min_size=1).filter(lambda text: text == text.strip())


@given(st.lists(VALUES, min_size=1))
@settings(max_examples=300, deadline=None)
def test_of_a_spreadsheet_s_file_exactly_the_ids_without_a_line_break_are_read(
    ids: list[str],
) -> None:
    file = io.StringIO()
    csv.writer(file).writerows((product_id, 5) for product_id in ids)
    found = read(file.getvalue().encode())
    assert [each.product_id for each in found if isinstance(each, Good)] == [
        product_id for product_id in ids if "\n" not in product_id
    ]


@pytest.mark.parametrize(
    ("content", "terminated"),
    [
        (b"A,5\n", True),
        (b"A,5\r\n", True),
        (b"A,5\n\n", True),
        (b"A,5", False),
        (b"A,5\n ", False),
        (b"A,5\r", False),
        (b"A" * 5_000, False),
        (b"A" * 5_000 + b"\n", True),
        (b"A" * 4_095 + b"\n", True),
        (b"A" * 4_096 + b"\nB,6", False),
    ],
)
def test_a_file_without_a_last_line_end_is_seen(content: bytes, terminated: bool) -> None:
    file = StockFile(io.BytesIO(content))
    assert list(file.lines())
    assert file.is_terminated == terminated


def test_a_second_header_is_a_wrong_line() -> None:
    assert isinstance(read(b"product_id,quantity\nproduct_id,quantity\n")[1], Wrong)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        ("A,5".encode("utf-16"), "UTF-16: save it as UTF-8"),
        (b"PK\x03\x04rest", "a spreadsheet or an archive"),
        (b"\x1f\x8b\x08rest", "compressed"),
        (b"quantity,product_id\n5,A\n", "the columns must be product_id,quantity"),
        (b"product_id,name,quantity\n", "the columns must be product_id,quantity"),
    ],
)
def test_what_is_no_such_file_is_refused_as_a_whole(content: bytes, words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        read(content)


PIECES = st.sampled_from([b"A", b"B", b",", b",", b"\n", b"\r\n", b'"', b" ", b"5", b"-", b"\xff"])


@given(st.one_of(st.binary(), st.lists(PIECES).map(b"".join)))
@settings(max_examples=500, deadline=None)
def test_whatever_the_bytes_every_line_is_told_once_and_the_sum_is_of_all(content: bytes) -> None:
    file = StockFile(io.BytesIO(content))
    try:
        told = list(file.lines())
    except InvalidError:
        return
    lines = content.split(b"\n")
    assert [each.line for each in told] == list(range(1, len(lines) + bool(lines[-1])))
    assert file.sha256 == hashlib.sha256(content).hexdigest()


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 2))))
@settings(max_examples=200, deadline=None)
def test_a_product_counts_if_and_only_if_its_lines_agree(lines: list[tuple[str, int]]) -> None:
    said: dict[str, set[int]] = {}
    with Scratch() as scratch:
        for number, (product_id, quantity) in enumerate(lines, start=1):
            said.setdefault(product_id, set()).add(quantity)
            scratch.add(Good(number, product_id, quantity))
        scratch.flush()
        refused = {wrong.line for wrong in scratch.take_out_contradictions()}
        kept = [wanted for batch in scratch.batches(2) for wanted in batch]
    assert {each.product_id: {each.quantity} for each in kept} == {
        product_id: quantities for product_id, quantities in said.items() if len(quantities) == 1
    }
    assert sum(each.lines for each in kept) + len(refused) == len(lines)
    assert [each.product_id for each in kept] == sorted(each.product_id for each in kept)


def test_a_long_line_of_quotes_and_spaces_takes_no_time() -> None:
    began = time.process_time()
    for line in (b'"' * 4_001, b' "' * 2_000, b'""" ' * 1_000, b" " * 4_000 + b'"'):
        assert isinstance(read(line + b"x\n")[0], Wrong)
    assert time.process_time() - began < 1.0
