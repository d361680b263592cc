"""The table of Kong's fields: its parts fit each other, and the embedded gateway runs it."""

from collections.abc import Iterator

import pytest

from services.local.gateway.plugins import REGISTRY
from services.policy.fields import Field, Fields
from services.policy.schema import ENTITIES, PLUGINS


def walk(fields: Fields, path: str) -> Iterator[tuple[str, Field]]:
    for name, known in fields.usable.items():
        yield f"{path}.{name}", known
        yield from walk(known.fields, f"{path}.{name}")


EVERYWHERE = [
    *(each for name, kind in ENTITIES.items() for each in walk(kind.fields, name)),
    *(each for name, plugin in PLUGINS.items() for each in walk(plugin.fields, name)),
]
OURS = {path: known for path, known in EVERYWHERE if known.ours and known.ours.allowed}


def test_the_embedded_gateway_runs_each_plugin_of_the_table() -> None:
    assert set(REGISTRY) == set(PLUGINS)


@pytest.mark.parametrize("known", OURS.values(), ids=OURS.keys())
def test_what_our_policy_allows_is_known_to_kong_and_run_by_the_embedded_gateway(
    known: Field,
) -> None:
    assert known.ours is not None
    for value in known.ours.allowed:
        assert not known.one_of or value in known.one_of
        assert known.embedded is None or value in known.embedded


def test_kinds_stand_under_kinds_of_the_table() -> None:
    for kind in ENTITIES.values():
        assert set(kind.children) <= set(ENTITIES)
        assert {*kind.unique, *kind.named_by} <= set(kind.fields)
