"""`gateway check`: each mistake is told by its line and by what to write instead."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from services.policy.check.checking import FaultyPolicyError, find_faults, require_sound
from tests.unit.policy.broken import FILES, POLICY, Broken, line_of


def test_the_real_file_has_no_fault() -> None:
    assert find_faults(POLICY) == ()
    require_sound(POLICY, "gateway/kong.yml")


def test_there_are_a_hundred_broken_files_no_two_alike() -> None:
    assert len(FILES) >= 100
    assert len({broken.name for broken in FILES}) == len(FILES)
    assert len({broken.text for broken in FILES} - {POLICY}) >= 100


@pytest.mark.parametrize("broken", FILES, ids=lambda broken: broken.name)
def test_a_broken_file_is_told_by_line_and_sentence(broken: Broken) -> None:
    faults = find_faults(broken.text)
    told = "\n".join(f"{line}: {sentence}" for line, sentence in faults)
    assert any(f.line == broken.line and broken.says in f.sentence for f in faults), (
        f"wanted line {broken.line}: {broken.says}; told:\n{told}"
    )
    assert len(faults) == broken.faults, told


@pytest.mark.parametrize("broken", FILES, ids=lambda broken: broken.name)
def test_faults_are_sorted_and_lines_are_of_the_file(broken: Broken) -> None:
    lines = [fault.line for fault in find_faults(broken.text)]
    assert lines == sorted(lines)
    assert 1 <= lines[0] <= lines[-1] <= broken.text.count("\n") + 1


def test_no_sentence_repeats_a_secret() -> None:
    secrets = ("hunter2", "not-a-reference", "a-key-in-the-file", "pk_live_0123", "12345")
    holding = [broken for broken in FILES if any(secret in broken.text for secret in secrets)]
    assert len(holding) >= 6
    for broken in holding:
        told = " ".join(fault.sentence for fault in find_faults(broken.text))
        assert not any(secret in told for secret in secrets), broken.name


def test_every_fault_is_told_at_once() -> None:
    text = POLICY
    for old, new in (
        ("minute: 300", "minute: many"),
        ("key_in_query: false", "key_in_query: true"),
        ("- name: acl", "- name: alc"),
        ("status_code: 401", "status_code: 200"),
    ):
        text = text.replace(old, new, 1)
    told = " ".join(fault.sentence for fault in find_faults(text))
    for words in ("`minute` of tier standard", "`key_in_query`", "`acl`?", "`status_code`"):
        assert words in told


def test_a_refusal_has_a_line_for_each_fault_with_the_files_name() -> None:
    text = POLICY.replace("minute: 300", "minute: many").replace("generator: uuid", "generator: x")
    with pytest.raises(FaultyPolicyError) as refused:
        require_sound(text, "some/kong.yml")
    title, *lines = str(refused.value).splitlines()
    assert title == "some/kong.yml has 2 faults; nothing was sent"
    assert [line.split(" ")[0] for line in lines] == [
        f"some/kong.yml:{line_of(words)}:" for words in ("minute: 300", "generator: uuid")
    ]
    assert len(refused.value.faults) == 2


@pytest.mark.parametrize(
    "text",
    ["_ignore: 5", "services: 5", "services: [5]", "plugins: [{name: 5}]", "5", "a: &a [*a]",
     "services: [{routes: 5, plugins: {a: b}}]", "consumers: [{acls: [5], username: [x]}]",
     "_ignore: [{tiers: [1]}]", "_ignore: [{tiers: {basic: 5}}]", "_ignore: [5]", "? [a]\n: b",
     "plugins: [{name: key-auth, config: {anonymous: [x], key_names: 7}}]", "services: [{url: 5}]",
     "plugins: [{name: rate-limiting, config: {redis: [], minute: {}}}]", "a: .nan",
     "a: 2020-01-01",
     "services: [{url: 'http://[', name: a, routes: [{name: 5, hosts: {}, paths: ['~/(']}]}]",
     "plugins: [{name: acl, config: {allow: {live: 1}}}]", "<<: {a: b}", "<<: [1, {a: b}]",
     "_ignore: !!set {a, b}", "services: !!python/object:os.system []", "routes: [{service: {}}]"],
)  # fmt: skip
def test_nonsense_of_every_shape_is_told_and_not_stumbled_over(text: str) -> None:
    assert find_faults(text + "\n")


JUNK = (None, 5, -1, "x", "", True, [], {}, [5], [[]], {"a": 1}, [{"name": 5}], "{vault://env/x}")


def places(data: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 -- any YAML
    """Yield each place of a document: a container and a key of it."""
    keys = list(data) if isinstance(data, dict) else range(len(data))
    for key in keys:
        yield data, key
        if isinstance(data[key], (dict, list)):
            yield from places(data[key])


def test_junk_in_any_place_is_never_stumbled_over() -> None:
    document = yaml.safe_load(POLICY)
    everywhere = [(*place, junk) for place in places(document) for junk in JUNK]
    for container, key, junk in random.Random(11).sample(everywhere, 150):
        kept, container[key] = container[key], junk
        find_faults(yaml.dump(document, Dumper=yaml.CSafeDumper))
        container[key] = kept
