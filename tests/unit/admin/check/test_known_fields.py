"""The check's table of Kong and the embedded gateway's: two services, one Kong."""

import pytest

from services.local.gateway import entities
from services.local.gateway.fields import REQUIRED
from services.local.gateway.fields import Field as TheirField
from services.local.gateway.fields import Fields as TheirFields
from services.local.gateway.plugins import REGISTRY
from services.policy.check import kong
from services.policy.check.fields import Field, Fields


def test_both_know_the_same_plugins_in_the_same_order() -> None:
    theirs = {name: plugin.PRIORITY for name, plugin in REGISTRY.items()}
    assert dict(kong.PRIORITIES) == theirs
    assert set(kong.PLUGINS) == set(theirs)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_what_both_know_of_a_plugin_is_the_same(name: str) -> None:
    compare(REGISTRY[name].FIELDS, kong.PLUGINS[name], name)


@pytest.mark.parametrize("kind", sorted(entities._FIELDS))  # pyright: ignore[reportPrivateUsage]
def test_what_both_know_of_an_entity_is_the_same(kind: str) -> None:
    compare(entities._FIELDS[kind], kong.ENTITIES[kind], kind)  # pyright: ignore[reportPrivateUsage]


def compare(theirs: TheirFields, ours: Fields, path: str) -> None:
    """The embedded gateway may know fewer fields and values, and ask for more; never otherwise."""
    assert set(theirs) <= set(ours), path
    for name, field in theirs.items():
        compare_field(field, ours[name], f"{path}.{name}")


def compare_field(theirs: TheirField, ours: Field, path: str) -> None:
    assert theirs.kind is ours.kind, path
    assert theirs.elements is ours.elements, path
    if ours.one_of:
        assert set(theirs.one_of) <= set(ours.one_of), path
    if theirs.between and ours.between:
        assert theirs.between == ours.between, path
    if theirs.default is not REQUIRED and not ours.required and theirs.default != []:
        assert theirs.default == ours.default, path
    if ours.ours and ours.ours.allowed and theirs.one_of:
        assert set(ours.ours.allowed) & set(theirs.one_of), path
    compare(theirs.fields, ours.fields, path)
