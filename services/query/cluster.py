"""Cluster: reads and versioned writes on a Valkey Cluster, one round trip for each node (Q8).

A batch becomes one command for each key, since a node refuses keys of several slots in one command;
those for one node go out in one write. Commands of one key are also what works while their slot is
being moved: the node that does not have the key any more says who has it.
"""

import asyncio
from binascii import crc_hqx
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from libvalkey import ReplyError, pack_command

from services.core.availability import Availability
from services.core.background import going_on
from services.query.breaker import ServerAwayError
from services.query.cache_url import Address, CacheAddress
from services.query.node import Node, is_redirection
from services.query.servers import (
    READ_WITHIN,
    WRITE_NEWER,
    WRITE_NEWER_SHA,
    WRITE_WITHIN,
    Breakers,
    is_no_script,
)
from services.query.valkey_connection import Reply

SLOTS = 16_384
HOPS = 4  # nodes that one command is sent to at most, while slots move
REFRESH_WITHIN = 1.0  # seconds for one node to tell the map
REFRESH_EVERY = 1.0  # seconds between two looks at the map, however many ask for one
UNWRITABLE = ("OOM", "READONLY", "MISCONF")  # it can't write, and still be read from
ASKING = pack_command(("ASKING",))
NOWHERE = ServerAwayError("no node has its slot")
WHO_HAS_WHAT = pack_command(("CLUSTER", "SLOTS"))


class Stop(NamedTuple):
    """Where a command goes next; `asking`: to a node that only takes over its slot."""

    node: Node
    asking: bool


class Cluster:
    """The Servers of a cache that is a Cluster. A part that is away leaves the others in use."""

    def __init__(self, address: CacheAddress, prefix: str, availability: Availability) -> None:
        """Nothing connects before it is needed; `prefix` is a key that nobody writes."""
        self._login = address.login
        self._probe = pack_command(("GET", prefix))
        self._availability = availability
        self._seeds = address.seeds
        self._nodes: dict[Address, Node] = {}
        self._owners: list[Node | None] = []  # by slot; empty until the map is known
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed_at = -REFRESH_EVERY
        self._opened_by_gone = 0  # how often breakers opened of nodes that have left

    @property
    def breakers(self) -> Breakers:
        """As Servers."""
        all_of_them = [node.breaker for node in list(self._nodes.values())]
        times_opened = self._opened_by_gone + sum(each.times_opened for each in all_of_them)
        is_open = sum(each.is_open for each in all_of_them)
        return Breakers(len(all_of_them) - is_open, is_open, times_opened)

    def refuse_if_away(self) -> None:
        """As Servers; the Cluster may have moved on to other nodes meanwhile."""
        if self._nodes and all(node.breaker.is_open for node in self._nodes.values()):
            self._refresh_soon()
            raise ServerAwayError

    async def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """As Servers; also None where the key's node is away, unless all of them are."""
        # Formatted here: a third of what 100 calls of pack_command cost.
        encoded = [key.encode() for key in keys]
        commands = [b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key) for key in encoded]
        replies = await self._run(commands, [slot_of(key) for key in encoded], READ_WITHIN)
        if all(isinstance(reply, ServerAwayError) for reply in replies):
            raise ServerAwayError(str(replies[0]))
        return [reply if isinstance(reply, bytes) else None for reply in replies]

    async def write(self, keys: Sequence[str], values: Sequence[bytes], expire_ms: int) -> int:
        """As Servers; raises when any of them could not be written."""
        pairs = list(zip(keys, values, strict=True))
        slots = [slot_of(key.encode()) for key in keys]
        commands = [
            pack_command(("EVALSHA", WRITE_NEWER_SHA, 1, key, expire_ms, value))
            for key, value in pairs
        ]
        replies = await self._run(commands, slots, WRITE_WITHIN)
        unknown = [at for at, reply in enumerate(replies) if is_no_script(reply)]
        if unknown:
            again = [
                pack_command(("EVAL", WRITE_NEWER, 1, pairs[at][0], expire_ms, pairs[at][1]))
                for at in unknown
            ]
            told = await self._run(again, [slots[at] for at in unknown], WRITE_WITHIN)
            for at, reply in zip(unknown, told, strict=True):
                replies[at] = reply
        written = [reply for reply in replies if isinstance(reply, int)]
        if len(written) < len(replies):
            reason = next(reply for reply in replies if not isinstance(reply, int))
            raise ServerAwayError(str(reason))
        return sum(written)

    async def ping(self) -> None:
        """As Servers; every node that has slots must answer."""
        await self._know_owners(READ_WITHIN)
        owners = {owner for owner in self._owners if owner}
        await asyncio.gather(*(owner.ping() for owner in owners))

    def close(self) -> None:
        """As Servers."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        for node in self._nodes.values():
            node.close()

    async def _run(
        self, commands: Sequence[bytes], slots: Sequence[int], within: float
    ) -> list[Reply]:
        """Return a reply for each command, or the ServerAwayError that it ended in."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        await self._know_owners(within)
        replies: list[Reply] = [NOWHERE] * len(commands)
        stops = self._first_stops(slots)
        for _ in range(HOPS):
            if not stops:
                break
            left = max(deadline - loop.time(), 0.0)
            visits = [self._visit(stop, commands, at, left) for stop, at in stops.items()]
            # gather makes a task of each, which one visit can do without.
            answers = [await visits[0]] if len(visits) == 1 else await asyncio.gather(*visits)
            further: dict[Stop, list[int]] = {}
            for (stop, at), answer in zip(stops.items(), answers, strict=True):
                for position, reply in zip(at, answer, strict=True):
                    replies[position] = reply
                    if isinstance(reply, ReplyError) and is_redirection(reply):
                        replies[position] = ServerAwayError(str(reply))
                        further.setdefault(self._redirected(stop, reply), []).append(position)
            stops = further
        return replies

    def _first_stops(self, slots: Sequence[int]) -> dict[Stop, list[int]]:
        by_node: dict[Node | None, list[int]] = {}
        owners = self._owners
        for position, slot in enumerate(slots):
            owner = owners[slot]
            if owner in by_node:
                by_node[owner].append(position)
            else:
                by_node[owner] = [position]
        return {Stop(node, asking=False): at for node, at in by_node.items() if node}

    async def _visit(
        self, stop: Stop, commands: Sequence[bytes], at: Sequence[int], within: float
    ) -> Sequence[Reply]:
        """Return a node's reply to each of these commands, or a ServerAwayError for each."""
        node, asking = stop
        packed = [commands[position] for position in at]
        try:
            if asking:
                joined = ASKING + ASKING.join(packed)
                replies = (await node.ask(joined, 2 * len(at), within))[1::2]
            else:
                replies = await node.ask(b"".join(packed), len(at), within)
        except ServerAwayError as exc:
            self._refresh_soon()
            return [exc] * len(at)
        self._judge(node, replies)
        return replies

    def _judge(self, node: Node, replies: Sequence[Reply]) -> None:
        """Tell the node's breaker whether it can be used."""
        errors = [reply for reply in replies if isinstance(reply, ReplyError)]
        unusable = [error for error in errors if not _is_of_its_key(error)]
        if errors and len(unusable) == len(replies):
            node.breaker.failed(ServerAwayError(str(unusable[0])))
            self._refresh_soon()
            return
        node.breaker.succeeded()
        for error in errors:
            if str(error).startswith(UNWRITABLE):
                node.availability.failed(ServerAwayError(str(error)))
                return

    def _redirected(self, stop: Stop, error: ReplyError) -> Stop:
        """Return where `MOVED 3999 host:port` or `ASK 3999 host:port` sends a command."""
        kind, slot, where = str(error).split()[:3]
        host, _, port = where.rpartition(":")
        # A node that does not know its own name leaves it out.
        node = self._node(Address(host or stop.node.address.host, int(port)))
        if kind == "ASK":
            return Stop(node, asking=True)
        self._owners[int(slot)] = node
        self._refresh_soon()
        return Stop(node, asking=False)

    def _node(self, address: Address) -> Node:
        node = self._nodes.get(address)
        if node is None:
            told = self._availability.of_part(str(address))
            node = Node(address, self._login, probe=self._probe, availability=told)
            self._nodes[address] = node
        return node

    async def _know_owners(self, within: float) -> None:
        """Wait for the map only when there is none."""
        if self._owners:
            return
        self._refresh_soon()
        if self._refreshing is not None:
            await asyncio.wait({self._refreshing}, timeout=within)
        if not self._owners:
            msg = "no node tells who has which slot"
            raise ServerAwayError(msg)

    def _refresh_soon(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._refreshing is None and now - self._refreshed_at >= REFRESH_EVERY:
            self._refreshed_at = now
            self._refreshing = asyncio.create_task(self._refresh())

    async def _refresh(self) -> None:
        """Ask node after node who has which slot until one tells."""
        try:
            with going_on("cluster_map.failed"):
                await self._ask_for_map()
        finally:
            self._refreshing = None

    async def _ask_for_map(self) -> None:
        well = [each for each, node in self._nodes.items() if not node.breaker.is_open]
        for address in dict.fromkeys([*well, *self._seeds]):
            try:
                asked = self._node(address).ask(WHO_HAS_WHAT, 1, REFRESH_WITHIN)
                (ranges,) = await asked
            except ServerAwayError:
                continue
            if isinstance(ranges, list) and ranges:
                self._take_map(cast("list[Any]", ranges), address)
                return

    def _take_map(self, ranges: list[Any], told_by: Address) -> None:
        """Take what CLUSTER SLOTS says: [first, last, [host, port, ...], replicas ...] each."""
        owners: list[Node | None] = [None] * SLOTS
        for first, last, (host, port, *_), *_ in ranges:
            name = host.decode() if host else told_by.host
            owners[first : last + 1] = [self._node(Address(name, port))] * (last - first + 1)
        self._owners = owners
        for gone in set(self._nodes.values()) - set(owners):
            if gone.is_idle and gone.address not in self._seeds:
                self._opened_by_gone += gone.breaker.times_opened
                self._nodes.pop(gone.address).close()


def slot_of(key: bytes) -> int:
    """Return the slot of a key: that of what stands in its first braces, if anything does."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


def _is_of_its_key(error: ReplyError) -> bool:
    """Say whether an error is about one key; others may be well there."""
    told = str(error)
    return is_redirection(error) or told.startswith(
        ("WRONGTYPE", "NOSCRIPT", "CLUSTERDOWN Hash slot", *UNWRITABLE)
    )
