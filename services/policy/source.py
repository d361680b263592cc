"""Source: the text of a kong.yml -> values with their lines, and the faults of its YAML.

Kong's reader and PyYAML take the last of two equal keys in silence; here both are seen.
"""

import datetime
from collections.abc import Callable, Iterator
from typing import Any, cast

import yaml

from services.policy.faults import Fault

_MERGE = "tag:yaml.org,2002:merge"
# libyaml says where it noticed; for these the place to mend is where the thing began.
_BEGAN_EARLIER = ("quoted scalar", "flow sequence", "flow mapping")
# libyaml's words -> what to write instead.
_ADVICE = {
    "tab character": "indent with spaces",
    "cannot start any token": "indent with spaces, and put quotes around a value that begins so",
    "mapping values are not allowed": "quote a value that holds `: `, and keep keys of one map in"
    " one column",
    "found undefined alias": "an alias (`*name`) needs its anchor (`&name`) above it",
    "did not find expected key": "keys of one map stand in one column, and so do the dashes of"
    " one list",
    "did not find expected '-' indicator": "dashes of one list stand in one column",
    "could not find expected ':'": "a key is followed by a colon and a space",
    "did not find expected ',' or ']'": "close the list with `]`, with commas between its values",
    "did not find expected ',' or '}'": "close the map with `}`, with commas between its values",
    "found unexpected end of stream": "close the quotes",
    "but found another document": "a kong.yml is one document: take the line `---` out",
    "control characters are not allowed": "take the unprintable character out",
    "block sequence entries are not allowed": "a list begins on a line of its own below its key",
}


class Value:
    """A value of the file: its data, and where it stands."""

    __slots__ = ("aliased", "at", "data", "line", "node")

    def __init__(self, data: object, line: int, *, at: int, node: int, aliased: bool) -> None:
        self.data: Any = data  # a scalar, list[Value] or dict[str, Value]
        self.line = line  # where it is written; of an alias: at its anchor
        self.at = at  # where it is named: the line of its key, its dash or its alias
        self.node = node  # equal for an anchor and its aliases
        self.aliased = aliased

    @property
    def items(self) -> list["Value"]:
        """Its values if it is a list, else none."""
        return cast("list[Value]", self.data) if isinstance(self.data, list) else []

    @property
    def map(self) -> dict[str, "Value"]:
        """Its values by key if it is a map, else none."""
        return cast("dict[str, Value]", self.data) if isinstance(self.data, dict) else {}

    def walk(self) -> Iterator["Value"]:
        """Yield this value and all inside of it."""
        yield self
        for inner in (*self.items, *self.map.values()):
            yield from inner.walk()


def plain(value: Value | None) -> Any:  # noqa: ANN401 -- any YAML
    """Return a value without its places."""
    if value is None:
        return None
    if isinstance(value.data, list):
        return [plain(inner) for inner in value.items]
    if isinstance(value.data, dict):
        return {key: plain(inner) for key, inner in value.map.items()}
    return value.data


def kind_of(data: object) -> str:
    """Return a value's type in words."""
    names: dict[type, str] = {
        bool: "a boolean",
        int: "an integer",
        float: "a decimal number",
        str: "a text",
        list: "a list",
        dict: "a map",
        type(None): "empty",
        datetime.date: "a date",
        datetime.datetime: "a date",
    }
    return names.get(type(data), "something else")


def read(text: str) -> tuple[Value | None, list[Fault]]:
    """Return the document, or None if it is no YAML, and all faults of its YAML."""
    try:
        loader = yaml.CSafeLoader(text)
        node = loader.get_single_node()
        aliases = list(_alias_lines(text))
    except yaml.MarkedYAMLError as exc:
        return None, [_syntax_fault(exc)]
    except (yaml.YAMLError, RecursionError) as exc:  # a character that YAML does not allow
        return None, [_character_fault(text, exc)]
    reader = _Reader(loader, iter(aliases))
    root = None if node is None else reader.value(node, _line(node))
    return root, reader.faults


def _alias_lines(text: str) -> Iterator[int]:
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent) and event.start_mark is not None:
            yield event.start_mark.line + 1


def _syntax_fault(exc: yaml.MarkedYAMLError) -> Fault:
    mark, problem = exc.problem_mark, exc.problem or "not YAML"
    began = exc.context_mark
    if began is not None and any(word in (exc.context or "") for word in _BEGAN_EARLIER):
        mark = began
    advice = next((words for key, words in _ADVICE.items() if key in f"{problem}"), "")
    sentence = f"this is not YAML ({problem}){': ' if advice else ''}{advice}"
    return Fault(mark.line + 1 if mark else 1, sentence)


def _character_fault(text: str, exc: Exception) -> Fault:
    position = getattr(exc, "position", 0)
    line = text.encode()[: position or 0].count(b"\n") + 1
    advice = next((words for key, words in _ADVICE.items() if key in str(exc)), "write it simpler")
    return Fault(line, f"this is not YAML: {advice}")


class _Reader:
    """Makes values of nodes; aliases are met in the order in which they stand in the file."""

    def __init__(self, loader: yaml.CSafeLoader, aliases: Iterator[int]) -> None:
        self.faults: list[Fault] = []
        self._construct: Callable[[yaml.Node], object] = loader.construct_object  # pyright: ignore[reportUnknownMemberType]
        self._aliases = aliases
        self._read: dict[int, object] = {}  # by node: what an anchor's aliases share
        self._open: set[int] = set()

    def value(self, node: yaml.Node, at: int) -> Value:
        """Return a node's value, which is named on line `at`."""
        line, aliased = _line(node), id(node) in self._read or id(node) in self._open
        if aliased:
            at = next(self._aliases, at)
        if id(node) in self._open:
            self.faults.append(Fault(at, "this alias stands inside of its own anchor: write the"
                                     " value out"))  # fmt: skip
            return Value(None, line, at=at, node=id(node), aliased=True)
        if not aliased:
            self._open.add(id(node))
            data = self._data(node)
            self._open.remove(id(node))
            self._read[id(node)] = data
        return Value(self._read[id(node)], line, at=at, node=id(node), aliased=aliased)

    def _data(self, node: yaml.Node) -> object:
        if isinstance(node, yaml.MappingNode):
            return self._map(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(inner, _line(inner)) for inner in node.value]
        try:
            return self._construct(node)
        except yaml.MarkedYAMLError:
            words = f"nobody reads the tag {node.tag}: write the value without it"
        except ValueError:
            words = f"`{node.value}` looks like a date or number but is none: put it in quotes"
        self.faults.append(Fault(_line(node), words))
        return None

    def _map(self, node: yaml.MappingNode) -> dict[str, Value]:
        own: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        for key_node, inner in node.value:
            at = _line(key_node)
            if key_node.tag == _MERGE:
                for name, value in self._merged(self.value(inner, at)).items():
                    merged.setdefault(name, value)
                continue
            key = self._key(key_node)
            value = self.value(inner, at)
            if key in own:
                self.faults.append(Fault(at, _twice(key, own[key].at)))
            own[key] = value
        return {**merged, **own}

    def _key(self, node: yaml.Node) -> str:
        data = self.value(node, _line(node)).data
        if isinstance(data, str):
            return data
        written = str(node.value) if isinstance(node, yaml.ScalarNode) else "this"
        words = f"the key `{written}` is {kind_of(data)} to YAML: put it in quotes"
        self.faults.append(Fault(_line(node), words))
        return written

    def _merged(self, value: Value) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for source in value.items or [value]:
            if not isinstance(source.data, dict):
                words = f"`<<` takes a map or a list of maps, not {kind_of(source.data)}"
                self.faults.append(Fault(value.at, words))
            for name, inner in source.map.items():
                found.setdefault(name, inner)
        return found


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _twice(key: str, first: int) -> str:
    return (
        f"`{key}` stands twice in this map (first on line {first}), and Kong takes the last in"
        " silence: keep one"
    )
