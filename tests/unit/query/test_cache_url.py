"""What a CACHE_URL may say, and what becomes of it."""

import re

import msgspec
import pytest

from services.query.cache_url import CACHE_URL_PATTERN, Address, parse_cache_url
from services.query.settings import CacheUrl


@pytest.mark.parametrize(
    ("url", "seeds", "is_cluster"),
    [
        ("valkey://h/0", [("h", 6379)], False),
        ("redis://127.0.0.1:7000", [("127.0.0.1", 7000)], False),
        ("valkey://[::1]:7000/3", [("::1", 7000)], False),
        ("valkey://a:1?cluster=true", [("a", 1)], True),
        ("valkey://u:p@a:1,b,c:3/0?cluster=true", [("a", 1), ("b", 6379), ("c", 3)], True),
    ],
)
def test_one_server_and_a_cluster_are_told_apart(
    url: str, seeds: list[tuple[str, int]], is_cluster: bool
) -> None:
    assert re.search(CACHE_URL_PATTERN, url)
    found = parse_cache_url(url)
    assert (found.seeds, found.is_cluster) == ([Address(*seed) for seed in seeds], is_cluster)


def test_who_logs_in_and_where_is_read_whatever_stands_in_the_password() -> None:
    login = parse_cache_url("valkey://user:p%40%2Cs%3A1@h:1/2").login
    assert (login.username, login.password, login.database) == ("user", "p@,s:1", 2)
    assert login.tls is None
    assert parse_cache_url("redis://:only-a-password@h").login.password == "only-a-password"


def test_tls_is_used_when_the_scheme_says_so() -> None:
    tls = parse_cache_url("valkeys://h").login.tls
    assert tls is not None
    assert tls.check_hostname


@pytest.mark.parametrize(
    "url",
    [
        "http://a",
        "valkey://",
        "valkey://a,b",
        "valkey://a/1?cluster=true",
        "valkey://a:1,?cluster=true",
        "valkey://a?clutser=true",
        "valkey://a?cluster=yes",
    ],
)
def test_what_makes_no_sense_is_a_fault_at_start(url: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(url, CacheUrl)


def test_a_fault_tells_no_password() -> None:
    with pytest.raises(msgspec.ValidationError) as fault:
        msgspec.convert("valkey://:hidden-word@a,b", CacheUrl)
    assert "hidden-word" not in str(fault.value)
