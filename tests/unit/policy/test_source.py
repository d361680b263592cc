"""Lines of values: where they are written, through anchors, aliases and merge keys."""

from services.policy.source import Value, plain, read

TEXT = """\
shared: &shared
  host: a
  ports: [1, 2]
own: *shared
merged:
  <<: *shared
  host: b
several:
  <<: [*shared, {more: c}]
"""


def value(root: Value | None, *path: str) -> Value:
    assert root is not None
    for name in path:
        root = root.map[name]
    return root


def test_an_aliased_value_stands_at_its_anchor_and_is_named_at_its_alias() -> None:
    root, faults = read(TEXT)
    assert faults == []
    own = value(root, "own")
    assert (own.line, own.at, own.aliased) == (1, 4, True)
    assert value(root, "own", "host").line == 2
    assert own.node == value(root, "shared").node
    assert not value(root, "shared").aliased


def test_a_merged_value_stands_where_it_is_written() -> None:
    root, _ = read(TEXT)
    assert value(root, "merged", "ports").line == 3
    assert value(root, "merged", "host").line == 7
    assert value(root, "several", "more").line == 9


def test_a_merge_yields_to_what_is_written_beside_it() -> None:
    root, _ = read(TEXT)
    assert plain(value(root, "merged")) == {"host": "b", "ports": [1, 2]}
    assert plain(value(root, "several")) == {"host": "a", "ports": [1, 2], "more": "c"}


def test_a_key_of_a_merge_and_of_the_map_is_not_twice_there() -> None:
    _, faults = read(TEXT)
    assert faults == []


def test_two_equal_keys_are_told_with_both_lines() -> None:
    _, faults = read("a: 1\nb: 2\na: 3\n")
    assert [fault.line for fault in faults] == [3]
    assert "first on line 1" in faults[0].sentence
