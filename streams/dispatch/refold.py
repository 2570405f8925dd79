"""Folds pools anew, from the first record of the inbox on."""

from collections.abc import Mapping
from contextlib import closing

from pydantic import ValidationError

from ringlog.health import NotRebuilt
from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings
from schemas.events import DispatchInbox
from schemas.wire import Poison
from streams.dispatch.policy import Policy
from streams.dispatch.pools import Pools
from streams.dispatch.router import INBOX
from streams.dispatch.snapshot import Snapshots


class Refold:
    """What the inbox makes of every pool, under the policy of now."""

    def __init__(self, config: Settings, policy: Policy) -> None:
        self.pools = Pools(lambda name: Snapshots.load(name, {}, policy))
        self._config = config
        self._codec = codec_of(config)

    def read(self, ends: Mapping[int, int], begins: Mapping[int, int] | None = None) -> None:
        """Goes on from `begins` to before `ends`, offsets by partition; blocks.

        Only the log has the times at which records were appended, by which a pool decides; the
        archive has not. Raises NotRebuilt, KafkaException or RegistryError.
        """
        start = {(INBOX, p): (begins or {}).get(p, 0) for p in ends}
        with closing(sync.consumer_of(self._config, "refold", **sync.TO_THE_END)) as consumer:
            kept_from = sync.begins_of(consumer, list(start))
            for (name, p), at in kept_from.items():
                if start[name, p] < min(at, ends[p]):
                    raise NotRebuilt(f"{INBOX}[{p}] begins at {at} by now, not at 0")
            for polled in sync.between(consumer, start, {(INBOX, p): at for p, at in ends.items()}):
                for (_, partition), records in polled.items():
                    for record in records:
                        self._take(partition, record)

    def _take(self, partition: int, raw: sync.RawRecord) -> None:
        try:
            event = DispatchInbox.model_validate(self._codec.decode_record(INBOX, raw.value))
            self.pools.work(event, partition, raw.offset, raw.timestamp_ms)
        except (Poison, ValidationError):
            pass  # the service has sent it to dead_letters
