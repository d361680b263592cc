"""Refusal: all faults of a declarative file, in the forms of Kong's Admin API."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.local.gateway.fields import Fault

_CODE = 14  # Kong's number of this error
_NAME = "invalid declarative configuration"


@dataclass(slots=True)
class FaultyEntity:
    """One entity and its faults; `path` leads to it: ("services", 0, "plugins", 2)."""

    type: str
    path: tuple[str | int, ...]
    given: dict[str, Any]
    faults: list[Fault] = field(default_factory=list[Fault])


class InvalidConfigurationError(Exception):
    """A file that is not taken, with all its faults as far as they can be kept apart."""

    def __init__(
        self, *, document: dict[str, str] | None = None, entities: Sequence[FaultyEntity] = ()
    ) -> None:
        self.document = document or {}  # faults of the file as a whole, by field
        self.entities = [entity for entity in entities if entity.faults]
        lines = [f"{name}: {message}" for name, message in self.document.items()]
        lines += [_line(entity, fault) for entity in self.entities for fault in entity.faults]
        super().__init__("; ".join(lines))

    def as_body(self, *, flatten: bool) -> dict[str, Any]:
        """Return the Admin API's body: nested as the file is, or a flat list of entities."""
        body: dict[str, Any] = {
            "code": _CODE,
            "name": _NAME,
            "message": f"declarative config is invalid: {{{self}}}",
            "fields": dict(self.document),
        }
        if flatten:
            body["flattened_errors"] = [_flat(entity) for entity in self.entities]
        else:
            for entity in self.entities:
                _nest(body["fields"], entity)
        return body


def _line(entity: FaultyEntity, fault: Fault) -> str:
    name = entity.given.get("name") or entity.given.get("username") or ""
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in entity.path)
    of = f" ({name})" if name else ""
    what = f" {fault.field}:" if fault.field else ""
    return f"{place.lstrip('.')}{of}{what} {fault.message}"


def _flat(entity: FaultyEntity) -> dict[str, Any]:
    flat: dict[str, Any] = {"entity_type": entity.type}
    for key in ("id", "name", "tags"):
        if key in entity.given:
            flat[f"entity_{key}"] = entity.given[key]
    flat["errors"] = [
        {"field": fault.field, "message": fault.message, "type": "field"}
        if fault.field
        else {"message": fault.message, "type": "entity"}
        for fault in entity.faults
    ]
    return flat


def _nest(fields: dict[str, Any], entity: FaultyEntity) -> None:
    """Put faults where the entity stands; entities of a list before it are null."""
    node: Any = fields
    for step, then in zip(entity.path, (*entity.path[1:], ""), strict=True):
        if isinstance(step, int):
            node.extend([None] * (step + 1 - len(node)))
            node[step] = node[step] or {}
            node = node[step]
        else:
            node = node.setdefault(step, [] if isinstance(then, int) else {})
    for fault in entity.faults:
        node[fault.field or "@entity"] = fault.message
