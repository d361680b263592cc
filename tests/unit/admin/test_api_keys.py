"""The form of an API key."""

import math

import pytest

from services.core.environments import Environment
from services.domain.key_form import (
    ALPHABET,
    RANDOM_LENGTH,
    fingerprint,
    is_well_formed,
    make_api_key,
    shown_part,
)


@pytest.mark.parametrize(
    ("environment", "prefix"), [(Environment.LIVE, "pk_live_"), (Environment.SANDBOX, "pk_test_")]
)
def test_a_key_names_its_environment_and_carries_a_checksum(
    environment: Environment, prefix: str
) -> None:
    key = make_api_key(environment)
    assert key.startswith(prefix)
    assert is_well_formed(key)


def test_a_key_holds_at_least_160_random_bits() -> None:
    assert RANDOM_LENGTH * math.log2(len(ALPHABET)) >= 160
    assert len({make_api_key(Environment.LIVE) for _ in range(1000)}) == 1000


def test_one_wrong_character_anywhere_is_noticed() -> None:
    key = make_api_key(Environment.LIVE)
    for place in range(len("pk_live_"), len(key)):
        other = "x" if key[place] != "x" else "y"
        assert not is_well_formed(key[:place] + other + key[place + 1 :]), place


def test_a_key_with_the_other_environments_prefix_is_not_well_formed() -> None:
    key = make_api_key(Environment.LIVE)
    assert not is_well_formed(key.replace("pk_live_", "pk_test_"))


def test_what_is_shown_and_looked_up_does_not_hold_the_secret() -> None:
    key = make_api_key(Environment.LIVE)
    assert key.startswith(shown_part(key))
    assert len(key) - len(shown_part(key)) >= 29
    assert key not in fingerprint(key)
    assert len(fingerprint(key)) == 64
