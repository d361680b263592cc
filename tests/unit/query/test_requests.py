"""What a partner may send, and the words for what is wrong with it."""

import json

import pytest

from services.core.errors import ErrorCode, PartnerError
from services.query.requests import ids_of_body, ids_of_query

GOOD_BODIES = [
    (b'{"product_ids":["A"]}', ["A"]),
    (b' {"product_ids" : [ "A", "B" ] }\n', ["A", "B"]),
    (b'{"product_ids":["B","A","B","A","C"]}', ["B", "A", "C"]),
    (json.dumps({"product_ids": ["x" * 64]}).encode(), ["x" * 64]),
    ('{"product_ids":["Kühlschrank 20\u00a0l", "冷蔵庫", "\U0001f4a1"]}'.encode(),
     ["Kühlschrank 20\u00a0l", "冷蔵庫", "\U0001f4a1"]),
    (b'{"product_ids":["\\ud83d\\udca1"]}', ["\U0001f4a1"]),
    (b'{"product_ids":["a,b", " ", "\\"", "\\\\"]}', ["a,b", " ", '"', "\\"]),
    (json.dumps({"product_ids": [f"P-{n}" for n in range(100)]}).encode(),
     [f"P-{n}" for n in range(100)]),
]  # fmt: skip

BAD_BODIES = [
    (b"", "it is empty"),
    (b"nonsense", "can't be read as JSON"),
    (b'{"product_ids":["A"]', "can't be read as JSON"),
    (b'{"product_ids":["A"]} x', "can't be read as JSON"),
    (b'\xef\xbb\xbf{"product_ids":["A"]}', "can't be read as JSON"),
    (b'{"product_ids":["\xff"]}', "UTF-8"),
    (b'{"product_ids":["\\ud800"]}', "can't be read as JSON"),
    (b'{"product_ids":["\\udc00\\ud800"]}', "can't be read as JSON"),
    (b'{"product_ids":["a\x00b"]}', "can't be read as JSON"),
    (b"[]", "must be a JSON object"),
    (b'["A"]', "must be a JSON object"),
    (b'"A"', "must be a JSON object"),
    (b"null", "must be a JSON object"),
    (b"12", "must be a JSON object"),
    (b"9" * 5_000, "out of range"),
    (b"1e400", "The body"),
    (b"[" * 30_000, "nested too deeply"),
    (b'{"a":' * 10_000, "nested too deeply"),
    (b'{"product_ids":' + b"[" * 30_000, "nested too deeply"),
    (b"{}", "`product_ids` is missing"),
    (b'{"products":["A"]}', "`product_ids` is missing"),
    (b'{"Product_IDs":["A"]}', "`product_ids` is missing"),
    (b'{"product_ids":null}', "`product_ids` must be a list"),
    (b'{"product_ids":"A"}', "`product_ids` must be a list"),
    (b'{"product_ids":{"A":1}}', "`product_ids` must be a list"),
    (b'{"product_ids":[]}', "`product_ids` is empty: send 1 to 100 product ids"),
    (b'{"product_ids":["A",7]}', "`product_ids[1]` must be a string"),
    (b'{"product_ids":["A",null]}', "`product_ids[1]` must be a string"),
    (b'{"product_ids":["A",true]}', "`product_ids[1]` must be a string"),
    (b'{"product_ids":["A",["B"]]}', "`product_ids[1]` must be a string"),
    (b'{"product_ids":["A",' + b"9" * 5_000 + b"]}", "out of range"),
    (b'{"product_ids":["A","B","C",""]}', "`product_ids[3]` must have 1 to 64 characters"),
    (json.dumps({"product_ids": ["A", "x" * 65]}).encode(), "`product_ids[1]` must have 1 to 64"),
    (b'{"product_ids":["A","a\\u0000b"]}', "`product_ids[1]` must have no control characters"),
    (b'{"product_ids":["a\\nb"]}', "U+000A at character 2"),
    (b'{"product_ids":["a\x7fb"]}', "U+007F at character 2"),
    (b'{"product_ids":["a\xc2\x85b"]}', "U+0085 at character 2"),
    (b'{"product_ids":["A"],"warehouse":1}', "`warehouse` is not a field"),
    (b'{"product_ids":["A"],"":1}', "`` is not a field"),
    (b'{"product_ids":["A"],"a\\nb":1}', "`a?b` is not a field"),
]  # fmt: skip

BAD_QUERIES = [
    (b"", "`product_ids` is missing"),
    (b"product_ids", "`product_ids` is empty"),
    (b"product_ids=", "`product_ids` is empty"),
    (b"product_ids=A,,B", "`product_ids[1]` must have 1 to 64"),
    (b"product_ids=A,", "`product_ids[1]` must have 1 to 64"),
    (b"product_ids=,", "`product_ids[0]` must have 1 to 64"),
    (b"product_ids=" + b"x" * 65, "`product_ids[0]` must have 1 to 64"),
    (b"product_ids=A&product_ids=B", "`product_ids` is sent more than once"),
    (b"product_ids=A&page=2", "`page` is not a parameter"),
    (b"products=A", "`products` is not a parameter"),
    (b"product_ids=A%00", "U+0000 at character 2"),
    (b"product_ids=A%ff", "`product_ids` is not UTF-8"),
    (b"product%ff_ids=A", "name is not UTF-8"),
    (b"product_ids[]=A", "`product_ids[]` is not a parameter"),
]


@pytest.mark.parametrize(("body", "expected"), GOOD_BODIES)
def test_a_good_body_gives_its_ids_each_once_at_its_first_place(
    body: bytes, expected: list[str]
) -> None:
    assert ids_of_body(body) == expected


@pytest.mark.parametrize(("body", "words"), BAD_BODIES, ids=lambda each: repr(each)[:40])
def test_a_bad_body_is_refused_with_words_that_name_the_field(body: bytes, words: str) -> None:
    with pytest.raises(PartnerError) as refused:
        ids_of_body(body)
    assert refused.value.code is ErrorCode.INVALID_REQUEST
    assert words in refused.value.message
    assert len(refused.value.message) < 200


@pytest.mark.parametrize(
    "product_ids",
    [["A"] * 101, [f"P-{n}" for n in range(101)], ["A", ""] * 60, [7] * 500],
    ids=["duplicates", "distinct", "with bad ones", "numbers"],
)
def test_more_than_100_as_sent_is_refused_whatever_they_are(product_ids: list[object]) -> None:
    with pytest.raises(PartnerError) as refused:
        ids_of_body(json.dumps({"product_ids": product_ids}).encode())
    assert refused.value.code is ErrorCode.BATCH_SIZE_EXCEEDED
    assert refused.value.message == "Maximum 100 products per request"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"product_ids=A,B", ["A", "B"]),
        (b"product_ids=A%2CB", ["A", "B"]),
        (b"product_ids=B,A,B", ["B", "A"]),
        (b"product%5Fids=A", ["A"]),
        (b"product_ids=a+b,c%20d", ["a b", "c d"]),
        (b"product_ids=1%2B1", ["1+1"]),
        (b"product_ids=K%C3%BChl=1", ["Kühl=1"]),
        (b"product_ids=100%", ["100%"]),
        (b"&product_ids=A&", ["A"]),
    ],
)
def test_a_good_query_gives_its_ids(query: bytes, expected: list[str]) -> None:
    assert ids_of_query(query) == expected


@pytest.mark.parametrize(("query", "words"), BAD_QUERIES)
def test_a_bad_query_is_refused_with_words_that_name_the_parameter(
    query: bytes, words: str
) -> None:
    with pytest.raises(PartnerError) as refused:
        ids_of_query(query)
    assert refused.value.code is ErrorCode.INVALID_REQUEST
    assert words in refused.value.message


def test_a_query_for_more_than_100_is_refused_too() -> None:
    with pytest.raises(PartnerError) as refused:
        ids_of_query(b"product_ids=" + b",".join([b"A"] * 101))
    assert refused.value.code is ErrorCode.BATCH_SIZE_EXCEEDED
