"""Export: the running configuration as Kong's GET /config has it: flat lists, parents by id.

Kong writes YAML; this is JSON, which is YAML too, and quick to make of 10,000 partners.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from services.local.gateway.declarative import parse
from services.local.gateway.entities import Entity, read_entities
from services.policy.schema import PARENTS


def export(text: str | None, environment: Mapping[str, str]) -> str:
    """Return the export of an accepted text; None: no text has been accepted yet."""
    flat: dict[str, Any] = {"_format_version": "3.0", "_transform": False}
    if text is not None:
        for kind, values in _entities(read_entities(parse(text), environment)):
            flat.setdefault(kind, []).append(values)
    return msgspec.json.encode(flat).decode()


def _entities(entities: Iterable[Entity]) -> Iterator[tuple[str, dict[str, Any]]]:
    for entity in entities:
        values = {**entity.values, "id": entity.id}
        if entity.parent is not None:
            values[PARENTS[entity.parent.kind]] = entity.parent.id
        yield entity.kind, values
        yield from _entities(entity.children)
