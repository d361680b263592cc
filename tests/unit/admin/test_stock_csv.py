"""The daily file, line by line."""

import hashlib
import io
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.admin.refusals import InvalidError
from services.admin.stock.csv import Good, Skipped, StockFile, Wrong
from services.admin.stock.scratch import Scratch

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
