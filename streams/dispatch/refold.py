"""Rebuilds pools: folds the inbox from its first record on, with the decisions on the log."""

from collections.abc import Mapping
from contextlib import closing

from confluent_kafka import Consumer
from pydantic import ValidationError

from ringlog.health import NotRebuilt
from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings
from schemas.catalogue import CALL_PARTITIONS
from schemas.events import DispatchInbox, TaskEvent
from schemas.phone import Numbers
from schemas.wire import Poison
from streams.dispatch.campaigns import TermsOf
from streams.dispatch.decided import Decided
from streams.dispatch.facts import TASKS
from streams.dispatch.pool import Pool
from streams.dispatch.pools import Pools
from streams.dispatch.router import INBOX
from streams.dispatch.snapshot import Snapshots


class Refold:
    """Every pool as folded from the inbox, which has the settings of each time, and from the
    decisions on `tasks.events`, which stand."""

    def __init__(self, config: Settings, numbers: Numbers, terms_of: TermsOf) -> None:
        self.decided = Decided()
        self.pools = Pools(
            lambda name: Snapshots(Pool(name, None, self.decided, terms_of)), numbers
        )
        self._config = config
        self._codec = codec_of(config)
        self._read_to: dict[tuple[str, int], int] = {}

    def read(self, ends: Mapping[int, int], begins: Mapping[int, int] | None = None) -> None:
        """Folds from `begins` to before `ends`, inbox offsets by partition; blocks.

        A pool decides by append times, which only the log has; the archive has not. Raises
        NotRebuilt, KafkaException or RegistryError.
        """
        with closing(sync.consumer_of(self._config, "refold", **sync.TO_THE_END)) as consumer:
            # A processed record has its decisions on the log: read them first.
            self._between(consumer, sync.ends_of(consumer, [(TASKS, p) for p in _ALL]))
            for p in ends:
                self._read_to[INBOX, p] = (begins or {}).get(p, 0)
            self._between(consumer, {(INBOX, p): at for p, at in ends.items()})
        for pool in self.pools.by_name.values():
            pool.pool.assignment.catch_up()

    def _between(self, consumer: Consumer, ends: Mapping[tuple[str, int], int]) -> None:
        start = {tp: self._read_to.get(tp, 0) for tp in ends}
        for (name, p), at in sync.begins_of(consumer, list(start)).items():
            if start[name, p] < min(at, ends[name, p]):
                raise NotRebuilt(f"{name}[{p}] begins at {at} by now, not at 0")
        for polled in sync.between(consumer, start, ends):
            for (name, partition), records in polled.items():
                for record in records:
                    self.take(name, partition, record)
        self._read_to.update(ends)

    def take(self, name: str, partition: int, raw: sync.RawRecord) -> None:
        """Folds one record of the inbox, or notes one of `tasks.events`."""
        try:
            if name == TASKS:
                record = self._codec.decode_record(TASKS, raw.value)
                self.decided.add(TaskEvent.model_validate(record))
                return
            event = DispatchInbox.model_validate(self._codec.decode_record(INBOX, raw.value))
            self.pools.work(event, partition, raw.offset, raw.timestamp_ms)
        except (Poison, ValidationError):
            pass  # the service has sent it to dead_letters


_ALL = range(CALL_PARTITIONS)
