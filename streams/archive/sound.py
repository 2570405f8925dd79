"""Reads the sound of many calls from `media.audio` in one pass."""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field

from ringlog.audio.recording import EDGE_MS, CallSound
from ringlog.kafka import sync
from ringlog.settings import Settings
from ringlog.stopping import Stopped
from schemas.events import MediaChunk
from schemas.wire import Codec, Poison
from streams.archive.ledger import Open

TOPIC = "media.audio"

_TAIL_MS = 600_000
"""How long after a call's end its last chunks are looked for. Call events carry their producers'
time, sound the broker's: so much may clocks differ, and an edge be late."""


@dataclass(slots=True)
class CallHeard:
    """The sound found of one call.

    `first_ms` is the broker's time of its first chunk. `at_edge`: that is about where reading
    began. `log_begins_later`: the log had nothing left from before the call, so what is missing may
    have expired.
    """

    sound: CallSound = field(default_factory=CallSound)
    first_ms: int | None = None
    at_edge: bool = False
    log_begins_later: bool = False

    @property
    def cut(self) -> bool:
        """Whether its beginning probably lies before what was read."""
        return self.at_edge and self.sound.cut


def listen(
    config: Settings,
    codec: Codec,
    calls: Iterable[Open],
    now_ms: int,
    stopped: Callable[[], bool] = lambda: False,
) -> dict[str, CallHeard]:
    """Everything that the log has of these calls, each partition read once.

    Raises KafkaException or RegistryError, and Stopped once `stopped` says so.
    """
    by_place: dict[sync.Place, list[Open]] = {}
    for call in calls:
        by_place.setdefault((TOPIC, call.partition), []).append(call)
    heard = {c.call_id.encode(): CallHeard() for group in by_place.values() for c in group}
    with closing(sync.consumer_of(config, "archive-sound", **sync.TO_THE_END)) as consumer:
        oldest = sync.begins_of(consumer, by_place)
        newest = sync.ends_of(consumer, by_place)
        begins, ends = {}, {}
        for place, group in by_place.items():
            start_ms = min(c.first_ms - c.margin_ms for c in group)
            at = sync.offsets_since(consumer, [place], start_ms)[place]
            begins[place] = newest[place] if at is None else at
            end = None
            if (stop_ms := max(c.last_ms for c in group) + _TAIL_MS) < now_ms:
                end = sync.offsets_since(consumer, [place], stop_ms)[place]
            ends[place] = newest[place] if end is None else end
            if 0 < begins[place] == oldest[place]:
                for c in group:
                    heard[c.call_id.encode()].log_begins_later = True
        edges: dict[sync.Place, int] = {}
        for polled in sync.between(consumer, begins, ends):
            if stopped():
                raise Stopped(TOPIC)
            for place, records in polled.items():
                edge_ms = edges.setdefault(place, records[0].timestamp_ms + EDGE_MS)
                for record in records:
                    if (found := heard.get(record.key or b"")) is not None:
                        _hear(codec, found, record, edge_ms)
    return {key.decode(): found for key, found in heard.items()}


def _hear(codec: Codec, found: CallHeard, record: sync.RawRecord, edge_ms: int) -> None:
    try:
        chunk = codec.decode(TOPIC, record.value)
    except Poison:
        return  # the topic's reader sends it to dead_letters
    assert isinstance(chunk, MediaChunk)
    if found.first_ms is None:
        found.first_ms = record.timestamp_ms
        found.at_edge = record.timestamp_ms < edge_ms
    found.sound.add(chunk)
