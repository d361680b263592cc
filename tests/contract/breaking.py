"""Breaking: what of a changed contract breaks clients that were written for the old one.

Looked at first: openapi-diff on npm (its last release in October 2025) compares paths, parameters
and bodies, and knows nothing of callbacks, security, answers' headers or enums that may grow;
api-smart-diff is a differ without a place for these rules; oasdiff is a Go program.
"""

import re
from collections.abc import Iterator
from typing import Any

from tests.contract.breaking_schemas import Sends, schema_breaks
from tools.contract.document import METHODS, Json, lookup

Node = dict[str, Any]


def breaking_changes(old: Node, new: Node) -> list[str]:
    """Return what a client of the old document would stumble over, with the place of each."""
    return list(dict.fromkeys(document_breaks(opened(old), opened(new))))


def opened(document: Node) -> Node:
    """Return a document without references, the names of path parameters left out."""
    whole = resolved(document, document)
    paths = {re.sub(r"\{[^}]*\}", "{}", path): item for path, item in whole["paths"].items()}
    return {**whole, "paths": paths}


def resolved(node: Json, document: Node) -> Json:
    """Return a node with what its references name in their place."""
    if isinstance(node, list):
        return [resolved(part, document) for part in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return resolved(lookup(node["$ref"], document), document)
    return {key: resolved(part, document) for key, part in node.items()}


def document_breaks(old: Node, new: Node) -> Iterator[str]:
    """Compare whole documents."""
    urls = {server["url"] for server in new.get("servers", [])}
    for server in old.get("servers", []):
        if server["url"] not in urls:
            yield f"{server['url']}: the server was removed"
    schemes = new["components"]["securitySchemes"]
    for name, scheme in old["components"]["securitySchemes"].items():
        if told_of(schemes.get(name, {})) != told_of(scheme):
            yield f"{name}: the key is sent in another way"
    yield from code_breaks(old, new)
    for path, item in old["paths"].items():
        for method, operation in operations(item):
            place = f"{method.upper()} {path}"
            other = new["paths"].get(path, {}).get(method)
            if other is None:
                yield f"{place}: was removed"
                continue
            if protection(new, other) - protection(old, operation):
                yield f"{place}: needs a key now"
            yield from operation_breaks(operation, other, Sends.CLIENT, place)


def told_of(scheme: Node) -> Node:
    """Return what matters to a client of a security scheme."""
    return {key: part for key, part in scheme.items() if key != "description"}


def operations(item: Node) -> Iterator[tuple[str, Node]]:
    """Yield the methods of a path with their operations."""
    yield from ((method, each) for method, each in item.items() if method.upper() in METHODS)


def protection(document: Node, operation: Node) -> set[str]:
    """Return the security schemes that an operation asks for."""
    wanted = operation.get("security", document.get("security", []))
    return {name for each in wanted for name in each}


def code_breaks(old: Node, new: Node) -> Iterator[str]:
    """Compare at which statuses each error code is shown."""
    before, after = codes_shown(old), codes_shown(new)
    for code, statuses in before.items():
        if code not in after:
            yield f"{code}: the error code was removed"
        elif after[code] != statuses:
            yield f"{code}: came with {sorted(statuses)} and comes with {sorted(after[code])}"


def codes_shown(document: Node) -> dict[str, set[str]]:
    """Return the statuses of each error code's examples."""
    found: dict[str, set[str]] = {}
    for item in document["paths"].values():
        for _, operation in operations(item):
            for status, answer in operation["responses"].items():
                for code in codes_of(answer):
                    found.setdefault(code, set()).add(status)
    return found


def codes_of(answer: Node) -> Iterator[str]:
    """Yield the error codes that an answer shows."""
    for media in answer.get("content", {}).values():
        for example in media.get("examples", {}).values():
            value = example.get("value")
            if isinstance(value, dict) and "code" in value:
                yield value["code"]


def operation_breaks(old: Node, new: Node, asks: Sends, place: str) -> Iterator[str]:
    """Compare one operation, or one callback, in which we ask and the client answers."""
    answers = Sends.US if asks is Sends.CLIENT else Sends.CLIENT
    yield from parameter_breaks(old, new, asks, place)
    yield from body_breaks(old.get("requestBody"), new.get("requestBody"), asks, place)
    yield from answer_breaks(old["responses"], new["responses"], answers, place)
    for name, callback in old.get("callbacks", {}).items():
        for url, item in callback.items():
            for method, event in operations(item):
                other = new.get("callbacks", {}).get(name, {}).get(url, {}).get(method)
                if other is None:
                    yield f"{place}: the callback {name} was removed"
                else:
                    yield from operation_breaks(event, other, Sends.US, f"{place} -> {name}")


def parameter_breaks(old: Node, new: Node, asks: Sends, place: str) -> Iterator[str]:
    """Compare parameters; those of a path by their order, since their names are ours alone."""
    before, after = by_name(old), by_name(new)
    for key, parameter in before.items():
        here = f"{place} {key}"
        if key not in after:
            yield f"{here}: the parameter was removed"
            continue
        other = after[key]
        yield from need_breaks(parameter, other, asks, here)
        if (parameter.get("style"), parameter.get("explode")) != (
            other.get("style"),
            other.get("explode"),
        ):
            yield f"{here}: is written in another way"
        yield from schema_breaks(parameter["schema"], other["schema"], asks, here)
    if asks is Sends.CLIENT:
        for key in after.keys() - before.keys():
            if after[key].get("required"):
                yield f"{place} {key}: must be sent now"


def by_name(operation: Node) -> dict[str, Node]:
    """Return parameters by place and name."""
    parameters = operation.get("parameters", [])
    in_path = [each for each in parameters if each["in"] == "path"]
    named = {f"path {number}": each for number, each in enumerate(in_path)}
    return named | {
        f"{each['in']} {each['name'].lower() if each['in'] == 'header' else each['name']}": each
        for each in parameters
        if each["in"] != "path"
    }


def need_breaks(old: Node, new: Node, sender: Sends, place: str) -> Iterator[str]:
    """Compare whether something must be there."""
    if sender is Sends.CLIENT and new.get("required") and not old.get("required"):
        yield f"{place}: must be sent now"
    if sender is Sends.US and old.get("required") and not new.get("required"):
        yield f"{place}: may be absent now"


def body_breaks(old: Node | None, new: Node | None, asks: Sends, place: str) -> Iterator[str]:
    """Compare the bodies of requests."""
    if old is None:
        if new is not None and new.get("required") and asks is Sends.CLIENT:
            yield f"{place}: a body must be sent now"
        return
    if new is None:
        yield f"{place}: the body was removed"
        return
    yield from need_breaks(old, new, asks, f"{place} body")
    yield from content_breaks(old["content"], new["content"], asks, f"{place} body")


def content_breaks(old: Node, new: Node, sender: Sends, place: str) -> Iterator[str]:
    """Compare what is sent, by media type."""
    for media_type, media in old.items():
        if media_type not in new:
            yield f"{place}: {media_type} was removed"
        else:
            yield from schema_breaks(media["schema"], new[media_type]["schema"], sender, place)


def answer_breaks(old: Node, new: Node, sender: Sends, place: str) -> Iterator[str]:
    """Compare answers. Error statuses may come and go: clients know them by their class."""
    for status in sorted(successes(new) ^ successes(old)):
        yield f"{place} {status}: the status is {'new' if status in new else 'removed'}"
    for status in old.keys() & new.keys():
        before, after, here = old[status], new[status], f"{place} {status}"
        yield from content_breaks(before.get("content", {}), after.get("content", {}), sender, here)
        headers = after.get("headers", {})
        for name, header in before.get("headers", {}).items():
            if name not in headers:
                yield f"{here} {name}: the header was removed"
                continue
            yield from need_breaks(header, headers[name], sender, f"{here} {name}")
            yield from schema_breaks(
                header["schema"], headers[name]["schema"], sender, f"{here} {name}"
            )


def successes(answers: Node) -> set[str]:
    """Return the statuses that are no errors."""
    return {status for status in answers if status[0] in "23"}
