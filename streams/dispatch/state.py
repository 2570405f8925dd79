"""The smaller parts of a pool's state."""

from collections.abc import Callable

from schemas.donotcall import DoNotCall
from streams.dispatch.inputs import Liveness

PAGE = 32
"""Entities of one kind that a snapshot writes together."""


class Touched:
    """Pages of the state that changed since the last snapshot, as (kind, page)."""

    def __init__(self) -> None:
        self.pages: set[tuple[str, int]] = set()

    def task(self, seq: int) -> None:
        """The task of that order of arrival changed, came or went."""
        self.pages.add(("task", seq // PAGE))

    def robot(self, n: int) -> None:
        """The robot of that order of arrival changed or came."""
        self.pages.add(("robot", n // PAGE))

    def optout(self, n: int) -> None:
        """The opt-out of that order of arrival came or went."""
        self.pages.add(("optout", n // PAGE))

    def dialled(self, n: int) -> None:
        """The line of that order of its newest dial came or went."""
        self.pages.add(("dialled", n // PAGE))

    def elsewhere(self, n: int) -> None:
        """The call of another pool of that order of arrival came or went."""
        self.pages.add(("elsewhere", n // PAGE))

    def tally(self, n: int) -> None:
        """The tally of that order of arrival changed, came or went."""
        self.pages.add(("tally", n // PAGE))

    def elsewhere_over(self, slot: int) -> None:
        """A slot of the ring of other pools' finished calls changed."""
        self.pages.add(("elsewhere_over", slot // PAGE))

    def campaign(self, n: int) -> None:
        """The campaign of that order of arrival came or changed."""
        self.pages.add(("campaign", n // PAGE))

    def recent(self, slot: int) -> None:
        """A slot of the ring of finished tasks changed."""
        self.pages.add(("recent", slot // PAGE))


class Index:
    """Task ids by a key that few tasks share. One id, the usual case, needs no set."""

    def __init__(self) -> None:
        self._ids: dict[str, str | set[str]] = {}

    def of(self, key: str | None) -> list[str]:
        """The ids in order."""
        found = self._ids.get(key or "")
        if found is None:
            return []
        return [found] if isinstance(found, str) else sorted(found)

    def add(self, key: str | None, task_id: str) -> None:
        """Nothing is indexed without a key."""
        if not key:
            return
        found = self._ids.get(key)
        if found is None:
            self._ids[key] = task_id
        elif isinstance(found, str):
            self._ids[key] = {found, task_id}
        else:
            found.add(task_id)

    def discard(self, key: str | None, task_id: str) -> None:
        """Does nothing when it is not there."""
        found = self._ids.get(key or "")
        if isinstance(found, set):
            found.discard(task_id)
        if found is not None and (found == task_id or not found):
            del self._ids[key or ""]


class OptOuts(DoNotCall):
    """The do-not-call list as this pool knows it; its pages go into snapshots.

    The edge has the last word: it reads the whole list before it dials.
    """

    def __init__(self, touched: Touched) -> None:
        super().__init__()
        self.order: dict[int, tuple[str, bool]] = {}
        self._n_of: dict[str, int] = {}
        self._touched = touched

    def put(self, entry: str, barred: bool, n: int | None = None) -> int:
        """As DoNotCall's; an entry moves to the page of its newest number."""
        before = self._n_of.get(entry)
        if before is not None:
            del self.order[before]
            self._touched.optout(before)
        restored, n = n is not None, super().put(entry, barred, n)
        self._n_of[entry] = n
        self.order[n] = (entry, barred)
        if not restored:
            self._touched.optout(n)
        return n


class Recent:
    """A ring of ids of what is over, so that a repeated record does not begin it again. `touch`
    is told of each slot that changes."""

    SLOTS = 8_192

    def __init__(self, touch: Callable[[int], None]) -> None:
        self.count = 0
        self.slots: dict[int, str] = {}
        self._ids: set[str] = set()
        self._touch = touch

    def add(self, this: str) -> None:
        """Forgets the oldest when the ring is full."""
        slot = self.count % self.SLOTS
        self.count += 1
        self._ids.discard(self.slots.get(slot, ""))
        self.restore(slot, this)
        self._touch(slot)

    def restore(self, slot: int, this: str) -> None:
        """Loads a snapshot's entry."""
        self.slots[slot] = this
        self._ids.add(this)

    def __contains__(self, this: str) -> bool:
        return this in self._ids


class Up:
    """Which edges and which shards of robot workers are up: name -> (up, lease offset,
    partitions). `capacity` is how many calls each edge takes at once, where it says so."""

    def __init__(self) -> None:
        self.edges: dict[str, tuple[bool, int, tuple[int, ...]]] = {}
        self.workers: dict[str, tuple[bool, int, tuple[int, ...]]] = {}
        self.capacity: dict[str, int] = {}

    def note(self, record: Liveness) -> None:
        """Of two records the one with the younger lease counts; down counts after up."""
        known = self.edges if record.kind == "edge" else self.workers
        up, offset, _ = known.get(record.name, (False, -1, ()))
        if record.offset > offset or (record.offset == offset and up and not record.up):
            known[record.name] = (record.up, record.offset, record.partitions)
            if record.kind == "edge" and record.capacity is not None:
                self.capacity[record.name] = record.capacity

    def covers(self, partitions: frozenset[int]) -> bool:
        """Whether a worker is up for every one of these partitions."""
        left = set(partitions)
        for up, _, served in self.workers.values():
            if up and not served:
                return True
            if up:
                left.difference_update(served)
        return not left

    def least_loaded(self, load: dict[str, int]) -> str | None:
        """The edge with the smallest share of its room taken, of those that are up and have room,
        then by id. One that does not say how many calls it takes has room for all."""
        able = [
            name
            for name, (up, _, _) in self.edges.items()
            if up and load.get(name, 0) < self.capacity.get(name, load.get(name, 0) + 1)
        ]
        return min(able, key=lambda name: (self._share(name, load), name), default=None)

    def _share(self, name: str, load: dict[str, int]) -> float:
        return load.get(name, 0) / self.capacity.get(name, 1)
