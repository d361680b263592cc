"""Diff: what a node runs against what would be sent -> what would change, without any key."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import msgspec
from psycopg import Connection
from psycopg.rows import TupleRow

from services.admin.gateway.desired import DesiredReader
from services.admin.gateway.node_sync import Candidate
from services.admin.gateway.nodes import AwayError, NodeClient
from services.admin.settings import AdminSettings
from services.core.encryption import SecretBox
from services.core.environments import Environment
from services.domain.key_form import shown_part
from services.policy import flat
from services.policy.flat import Fields, Name
from services.policy.render import PolicyError

DEFAULT = "(Kong's default)"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that would change, for one entity or, when equal, for several consumers."""

    what: str  # added, removed, changed
    entity: str  # `service query-live`, `tier standard`, `key pk_live_AbCd... of consumer acme`
    field: str | None = None  # of what changed, such as config.minute
    old: str | None = None
    new: str | None = None
    consumers: list[str] = []  # whom it is about, when that is not in `entity`


class NodesDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What would change on nodes that run the same."""

    nodes: list[str]
    hash: str | None  # of what they run
    changes: list[Change]
    error: str | None = None  # they do not say what they run


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """What a publish would change."""

    hash: str  # of what would be sent
    nodes: list[str]  # that were asked
    groups: list[NodesDiff]  # without those that run just that

    @property
    def is_none(self) -> bool:
        """Whether every node runs what would be sent."""
        return not self.groups


class Wanted(NamedTuple):
    """What nodes should run, which is compared with what they do run."""

    text: Candidate
    fallback: Candidate | None  # None: the same
    tiers: Mapping[str, str]  # of each consumer by its username


def read_wanted(
    connection: Connection[TupleRow],
    settings: AdminSettings,
    box: SecretBox,
    other: tuple[str, str] | None = None,
) -> Wanted:
    """Return what nodes should run by kong.yml and the partners of now. Raises PolicyError.

    `other` is the name and the text of a kong.yml in the place of the one on the disk.
    """
    name, policy = other or (settings.gateway_policy, None)
    reader = DesiredReader(name, settings.addresses, box, policy=policy)
    desired = reader.read(connection)
    if desired.wanted is None or desired.policy_error is not None:
        raise PolicyError(desired.policy_error)
    return Wanted(desired.wanted, desired.fallback, read_tiers(connection))


def diff_nodes(nodes: list[str], wanted: Wanted) -> Diff:
    """Compare what each node runs with what it should; asks the nodes, and no database."""
    running: dict[str | None, list[str]] = defaultdict(list)
    away: list[NodesDiff] = []
    for url, found in _ask_all(nodes):
        if isinstance(found, AwayError):
            away.append(NodesDiff(nodes=[url], hash=None, changes=[], error=str(found)))
        elif found != wanted.text.hash:
            running[found].append(url)
    groups = [_group(alike, found, wanted) for found, alike in running.items()]
    return Diff(hash=wanted.text.hash, nodes=nodes, groups=groups + away)


def _ask_all(nodes: Sequence[str]) -> list[tuple[str, str | AwayError | None]]:
    """Return the hash of what each node runs, or why it does not say; asks all at once."""
    with ThreadPoolExecutor(max_workers=max(1, len(nodes))) as threads:
        return list(zip(nodes, threads.map(_ask, nodes), strict=True))


def _ask(url: str) -> str | AwayError | None:
    try:
        with NodeClient(url) as node:
            return node.running_hash()
    except AwayError as exc:
        return exc


def _group(nodes: list[str], found: str | None, wanted: Wanted) -> NodesDiff:
    try:
        with NodeClient(nodes[0]) as node:
            running = flat.read(node.running_text())
    except AwayError as exc:
        return NodesDiff(nodes=nodes, hash=found, changes=[], error=str(exc))
    except ValueError as exc:
        return NodesDiff(nodes=nodes, hash=found, changes=[], error=f"GET /config is {exc}")
    changes = compare(
        flat.flatten(running),
        _flat(wanted.text),
        before=_flat(wanted.fallback),
        tiers=wanted.tiers,
    )
    return NodesDiff(nodes=nodes, hash=found, changes=changes)


def _flat(candidate: Candidate | None) -> dict[Name, Fields]:
    return flat.flatten(flat.read(candidate.text)) if candidate else {}


SELECT_TIERS = "SELECT name, tier FROM control.partners"


def read_tiers(connection: Connection[TupleRow]) -> dict[str, str]:
    """Return the tier of each consumer by its username."""
    rows = connection.execute(SELECT_TIERS).fetchall()
    return {env.username(name): tier for name, tier in rows for env in Environment}


def compare(
    running: Mapping[Name, Fields],
    wanted: Mapping[Name, Fields],
    *,
    before: Mapping[Name, Fields],
    tiers: Mapping[str, str],
) -> list[Change]:
    """Return what would change, equal changes of several consumers as one.

    `before` is the last text that every node took: a field that it has and `wanted` has not goes
    back to Kong's default; other fields that `wanted` does not name are Kong's own.
    """
    added = [name for name in wanted if name not in running]
    removed = [name for name in running if name not in wanted]
    changes = [
        *_whole("added", added, wanted),
        *_whole("removed", removed, running),
        *_changed(running, wanted, before, tiers),
    ]
    return sorted(changes, key=lambda change: (change.entity, change.field or "", change.what))


def _whole(what: str, names: Iterable[Name], entities: Mapping[Name, Fields]) -> Iterator[Change]:
    """Yield entities that come or go; what comes or goes with another is not told."""
    names = list(names)
    gone = {(name.kind, name.own) for name in names}
    for name in names:
        if not gone.intersection(name.owners):
            yield Change(what=what, entity=_label(name, entities[name]))


def _changed(
    running: Mapping[Name, Fields],
    wanted: Mapping[Name, Fields],
    before: Mapping[Name, Fields],
    tiers: Mapping[str, str],
) -> Iterator[Change]:
    alike: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for name, fields in wanted.items():
        if name in running:
            entity = _tier_label(name, tiers) or _label(name, fields)
            for change in _fields(running[name], fields, before.get(name, {})):
                alike[entity, *change].append(name.consumer)
    for (entity, field, old, new), consumers in alike.items():
        named = consumers if entity.startswith("tier ") else []
        yield Change(
            what="changed", entity=entity, field=field, old=old, new=new, consumers=sorted(named)
        )


def _fields(running: Fields, wanted: Fields, before: Fields) -> Iterator[tuple[str, str, str]]:
    for field, value in wanted.items():
        if running.get(field) != value:
            old, new = flat.shown(field, running.get(field)), flat.shown(field, value)
            yield field, "(changed)" if old == new else old, "(changed)" if old == new else new
    for field, value in before.items():
        if field not in wanted and running.get(field) == value and value is not None:
            yield field, flat.shown(field, value), DEFAULT


def _tier_label(name: Name, tiers: Mapping[str, str]) -> str | None:
    if name.own != "rate-limiting" or name.consumer not in tiers:
        return None
    return f"tier {tiers[name.consumer]}"


def _label(name: Name, fields: Fields) -> str:
    if name.kind == "key":
        return f"key {shown_part(str(fields.get('key')))}... of consumer {name.consumer}"
    return name.label
