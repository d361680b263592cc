"""Memory: finished items in this process, above Valkey; where a query looks first (Q7, Q8).

Entries lie in two generations. Writes go to the young one; when it is half of what may be kept, the
old one is dropped and the young one becomes the old one. An entry that is read out of the old one
is moved to the young one. So what was used last stays, as in an LRU cache; but to move each of 100
entries to the end of an OrderedDict would take longer than the whole hot path.

That path is a dict of items alone. Every second those leave it that would cease to be fresh before
the next, so that no lookup has to see an age: 100 random ids of 5,000 take 6 us, on a busy machine
12; with the ages of tuples it was 10, and 18: what counts is how many places of memory are touched.
What is no longer fresh is served until its age is reached and, if it is asked for, read again
meanwhile (refreshing.py): so nobody waits for it, and it lasts when PostgreSQL goes away.

Versions settle which of two entries is right, whichever comes first. What was dropped has left no
version to compare with: a read that began before a generation was closed can't fill memory once
that generation is dropped, unless something at least as old is still known of that id.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from itertools import islice
from typing import NamedTuple

from services.query.items import Entry

CLOCK_SKEW = 1.0  # seconds; two machines' clocks may differ by this; one more ahead is not believed
OVERHEAD = 320  # bytes of an entry beside its item and id: a dict's slot, a tuple, two numbers
CHARACTER = 4  # bytes of one character of an id, at most
LARGEST = 4_096  # bytes; every entry is smaller, and a generation below this keeps nothing
FRESH_SHARE = 0.6  # of the age that an entry may reach; an older one is read again beside requests
UNKNOWN_SHARE = 0.1  # of the bounds, on top, for ids that never were: they push no item out

# When its database read began (seconds since 1970), its item, its version.
Kept = tuple[float, bytes, int]


class Bounds(NamedTuple):
    """What may be kept at most; 0 of either keeps nothing."""

    entries: int
    size: int  # bytes

    def share(self, part: float) -> "Bounds":
        """Return a part of these bounds."""
        return Bounds(int(self.entries * part), int(self.size * part))


class Generations:
    """Entries by product id, young ones and old ones."""

    def __init__(self, bounds: Bounds) -> None:
        """Take the bounds of both generations together."""
        self._most, self._most_size = bounds.share(0.5)
        self.off = self._most < 1 or self._most_size < LARGEST
        self.young: dict[str, Kept] = {}
        self.old: dict[str, Kept] = {}
        self._size = 0  # bytes of the young ones
        self._old_size = 0
        self._closed_at = 0.0  # when the old ones became old
        self.forgotten_until = 0.0  # whatever was dropped had been written before this

    @property
    def size(self) -> int:
        """Bytes; what was moved from the old ones to the young ones counts twice until they go."""
        return self._size + self._old_size

    def get(self, product_id: str) -> Kept | None:
        """Return what is kept of an id, however long ago it was read."""
        return self.young.get(product_id) or self.old.get(product_id)

    def put(self, product_id: str, kept: Kept, now: float) -> None:
        """Keep this among the young ones."""
        before = self.young.get(product_id)
        growth = _size_of(product_id, kept) - (_size_of(product_id, before) if before else 0)
        full = before is None and len(self.young) >= self._most
        if full or self._size + growth > self._most_size:
            self._close(now)
            growth = _size_of(product_id, kept)
        self._size += growth
        self.young[product_id] = kept

    def remove(self, product_id: str) -> None:
        """Remove an entry that no later one need be compared with."""
        kept = self.young.pop(product_id, None)
        if kept:
            self._size -= _size_of(product_id, kept)
        kept = self.old.pop(product_id, None)
        if kept:
            self._old_size -= _size_of(product_id, kept)

    def clear(self, now: float) -> None:
        """Drop every entry, and take none whose read is under way now."""
        self._close(now)
        self._close(now)
        self.forgotten_until = now

    def _close(self, now: float) -> None:
        """Drop the old ones; the young ones become old."""
        if self.old:
            self.forgotten_until = self._closed_at
        self.old, self.young = self.young, {}
        self._old_size, self._size, self._closed_at = self._size, 0, now


class Memory:
    """The items of one environment that this process knows; none is served beyond its age."""

    def __init__(self, bounds: Bounds, *, max_age: timedelta, clock: Callable[[], float]) -> None:
        """Take the clock (seconds since 1970)."""
        self._known = Generations(bounds)  # products, and removed ones, which have a version too
        self._unknown = Generations(bounds.share(UNKNOWN_SHARE))  # version 0: never a product
        self._max_age = max_age.total_seconds()
        self._fresh_for = self._max_age * FRESH_SHARE
        self._clock = clock
        self._latest = 0.0  # what the clock said last
        self.aging: dict[str, None] = {}  # ids that were looked up and are no longer fresh
        self._hot: dict[str, bytes] = {}  # of the young products, what is fresh this whole second
        self._leaving: dict[int, set[str]] = {}  # ids by the second in which they cease to be fresh
        self._second = 0  # the one that `_hot` is good for
        self.off = self._known.off

    @property
    def held(self) -> int:
        """How many entries it holds, those beyond their age included."""
        held = (self._known.young, self._known.old, self._unknown.young, self._unknown.old)
        return sum(map(len, held))

    @property
    def size(self) -> int:
        """How many bytes those take, about."""
        return self._known.size + self._unknown.size

    def hot(self, product_ids: Sequence[str]) -> list[bytes] | None:
        """Return the items of these ids, if every one is hot, else None."""
        self._now()
        try:
            return list(map(self._hot.__getitem__, product_ids))
        except KeyError:
            return None

    def look(self, product_ids: Sequence[str]) -> list[bytes | None]:
        """Return for each id its item, ABSENT, or None when it is not known."""
        if self.off:
            return [None] * len(product_ids)
        now = self._now()
        get = self._hot.get
        return [get(each) or self._search(each, now) for each in product_ids]

    def take_aging(self, most: int) -> list[str]:
        """Return ids that should be read again, those noted first, and note them no longer."""
        taken = list(islice(self.aging, most))
        for each in taken:
            del self.aging[each]
        return taken

    def forget(self) -> None:
        """Drop all there is and what is being read now: something newer may go untold."""
        now = self._now()
        self._known.clear(now)
        self._unknown.clear(now)
        self._cool()

    def put(self, entry: Entry, read_began: float) -> bytes:
        """Keep what a reader found, unless what is known is newer; return the newer item.

        `read_began`: when its database read began (seconds since 1970), whichever cache it is from.
        """
        return self._take(entry, read_began, self._now(), following=False)

    def follow(self, entries: Iterable[Entry], *, read_began: float) -> None:
        """Keep what the change feed found, 4 us an entry.

        Unlike a reader's it may fill what was forgotten: had anything newer been dropped since its
        read, the feed would tell of that next.
        """
        now = self._now()
        for entry in entries:
            self._take(entry, read_began, now, following=True)

    def _take(self, entry: Entry, read_began: float, now: float, *, following: bool) -> bytes:
        product_id, version, item = entry
        oldest = now - self._max_age
        known = self._known.get(product_id)
        # Beyond its age an entry counts for nothing: a restored database has lower versions.
        if known and known[0] > oldest and (known[2], known[0]) >= (version, read_began):
            return known[1]
        lost = known is None and not following and read_began < self._known.forgotten_until
        if self.off or lost or not oldest < read_began <= now + CLOCK_SKEW:
            return item
        kept = (read_began, item, version)
        if version:
            self._unknown.remove(product_id)
            self._keep(product_id, kept, now)
        elif not self._unknown.off:
            self._unknown.put(product_id, kept, now)
        return item

    def _keep(self, product_id: str, kept: Kept, now: float) -> None:
        """Keep an entry of a product among the young ones, and make it hot or no longer so."""
        young = self._known.young
        self._known.put(product_id, kept, now)
        if self._known.young is not young:  # what is hot is among the young ones
            self._cool()
        last = int(kept[0] + self._fresh_for)
        if kept[1] and last > self._second:
            self._hot[product_id] = kept[1]
            self._leaving.setdefault(last, set()).add(product_id)
        else:
            self._hot.pop(product_id, None)

    def _cool(self) -> None:
        self._hot.clear()
        self._leaving.clear()

    def _search(self, product_id: str, now: float) -> bytes | None:
        """Look where `hot` does not."""
        oldest = now - self._max_age
        known = self._known.get(product_id)
        if known and known[0] > oldest:
            if product_id not in self._known.young:
                self._keep(product_id, known, now)
            if known[0] + self._fresh_for <= now:
                self.aging[product_id] = None
            return known[1]
        unknown = self._unknown.get(product_id)
        if unknown and unknown[0] > oldest:
            if product_id not in self._unknown.young:
                self._unknown.put(product_id, unknown, now)
            return unknown[1]
        return None

    def _now(self) -> float:
        now = self._clock()
        if now < self._latest:  # the clock was set back: nobody knows how old anything is
            self._known.clear(now)
            self._unknown.clear(now)
            self._cool()
            self._second = int(now)
        elif now >= self._second + 1:
            self._second = int(now)
            self._let_go()
        self._latest = now
        return now

    def _let_go(self) -> None:
        """Take out of `_hot` what ceases to be fresh in this second: 0.6 us each."""
        young = self._known.young
        for last in [each for each in self._leaving if each <= self._second]:
            for product_id in self._leaving.pop(last):
                kept = young.get(product_id)  # it may have been read again meanwhile
                if kept is None or kept[0] + self._fresh_for < self._second + 1:
                    self._hot.pop(product_id, None)


def _size_of(product_id: str, kept: Kept) -> int:
    return len(kept[1]) + CHARACTER * len(product_id) + OVERHEAD
