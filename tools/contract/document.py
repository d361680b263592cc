"""Contract: read the public document, and check values against its schemas."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml
from openapi_schema_validator import OAS30Validator, oas30_format_checker

DOCUMENT = Path(__file__).parents[2] / "specs" / "api" / "partner-inventory-api.yaml"
METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"})

Json = Any  # what json.loads returns


@cache
def load_document() -> dict[str, Any]:
    """Return the public contract as it is in the repository."""
    return yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))


def expand(node: Json, document: dict[str, Any]) -> Json:
    """Return `node` with each `$ref` replaced by what it names, made ready for checking.

    Objects take no fields but the ones they name. Patterns are ECMA 262's, by the package regress.
    """
    if isinstance(node, list):
        return [expand(part, document) for part in cast("list[Json]", node)]
    if not isinstance(node, dict):
        return node
    given = cast("dict[str, Json]", node)
    if "$ref" in given:
        return expand(lookup(given["$ref"], document), document)
    if "allOf" in given:
        message = "allOf can't be checked for unknown fields: write the fields out"
        raise ValueError(message)
    return closed({key: expand(part, document) for key, part in given.items()})


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Make one schema exact: no fields but its own."""
    if schema.get("type") == "object" and "properties" in schema:
        schema.setdefault("additionalProperties", False)
    return schema


def lookup(reference: str, document: dict[str, Any]) -> Json:
    """Return what a reference inside the document names."""
    found: Json = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def schema_problems(schema: dict[str, Any], value: Json) -> Iterator[str]:
    """Yield each way in which a value is not as an expanded schema says."""
    validator = OAS30Validator(schema, format_checker=oas30_format_checker)
    for error in validator.iter_errors(value):
        yield f"{error.json_path}: {error.message}"
