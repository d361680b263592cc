"""What a node says when it refuses: told shortly, and never with a key in it."""

import json

from services.admin.gateway.nodes import refusal_words
from services.core.environments import Environment
from services.domain.key_form import MASKED_MOST, make_api_key, shown_part


def test_faults_are_told_by_entity_and_field() -> None:
    body = {
        "message": "declarative config is invalid: {...}",
        "flattened_errors": [
            {
                "entity_type": "plugin",
                "entity_name": "acl",
                "errors": [{"field": "config.allow", "message": "expected an array"}],
            }
        ],
    }
    assert refusal_words(json.dumps(body).encode()) == "plugin acl: config.allow: expected an array"


def test_a_refusal_without_entities_is_its_message() -> None:
    assert refusal_words(b'{"message": "expected a declarative configuration"}') == (
        "expected a declarative configuration"
    )
    assert refusal_words(b"<html>413</html>") == "<html>413</html>"


def test_no_key_is_repeated() -> None:
    for environment in Environment:
        key = make_api_key(environment)
        quoted = {
            "entity_type": "keyauth_credential",
            "entity": {"key": key},
            "errors": [{"field": "key", "message": f"{key} is taken"}],
        }
        for body in (
            {"flattened_errors": [quoted]},
            {"message": f"uniqueness violation: {key}"},
            {"fields": {"consumers": [{"key": key}]}},
        ):
            words = refusal_words(json.dumps(body).encode())
            assert key not in words
        assert shown_part(key) + "..." in refusal_words(json.dumps({"message": key}).encode())


def test_a_key_at_the_end_of_what_is_told_is_not_cut_but_masked() -> None:
    key = make_api_key(Environment.LIVE)
    for length in range(MASKED_MOST - 50, MASKED_MOST):
        words = refusal_words(json.dumps({"message": "x" * length + " " + key}).encode())
        assert key[:13] not in words


def test_a_long_refusal_is_cut() -> None:
    faults = [{"entity_type": f"e{n}", "errors": [{"message": "m" * 90}]} for n in range(40)]
    words = refusal_words(json.dumps({"flattened_errors": faults}).encode())
    assert len(words) <= MASKED_MOST + 3
