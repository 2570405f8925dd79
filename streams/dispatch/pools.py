"""The pools of a service, and how an inbox record reaches its pool; shared by the service and by
rebuilds."""

from collections.abc import Callable

from schemas.catalogue import CALL_PARTITIONS
from schemas.events import DispatchInbox
from schemas.partition import partition_of
from schemas.phone import Numbers
from schemas.wire import Poison
from streams.dispatch.facts import Output
from streams.dispatch.inputs import parse
from streams.dispatch.snapshot import Snapshots

DEFAULT_POOL = "default"


class Pools:
    """Pools by name. `load` loads a pool on first use; `numbers` parses phone numbers."""

    def __init__(self, load: Callable[[str], Snapshots], numbers: Numbers) -> None:
        self.by_name: dict[str, Snapshots] = {}
        self._load = load
        self._numbers = numbers

    def of(self, name: str) -> Snapshots:
        """The pool of that name."""
        found = self.by_name.get(name)
        if found is None:
            found = self.by_name[name] = self._load(name)
        return found

    def work(
        self, event: DispatchInbox, partition: int, offset: int, timestamp_ms: int
    ) -> list[Output]:
        """Processes one inbox record, once; returns the resulting events. Raises Poison."""
        name = event.pool or DEFAULT_POOL
        right = partition_of(name, CALL_PARTITIONS)
        if partition != right:
            raise Poison(f"pool {name} belongs to partition {right}, not {partition}")
        pool = self.of(name)
        if offset < pool.next_offset:
            return []  # the snapshot that we started from has seen it
        pool.next_offset = offset + 1
        return pool.pool.step(parse(event, self._numbers), timestamp_ms)
