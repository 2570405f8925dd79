"""What the worker's tests do on Kafka themselves: write audio, read transcripts, compare."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable

from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.kafka.sync import RawRecord
from ringlog.settings import Settings
from schemas.catalogue import CALL_PARTITIONS
from schemas.envelope import Event
from schemas.events import DeadLetter, Transcript

AUDIO, TRANSCRIPTS = "media.audio", "asr.transcripts"

Said = tuple[str, int, int, int, tuple[tuple[str, int], ...], tuple[int, ...]]


def said(t: Transcript) -> Said:
    """All of a final that must never differ."""
    tokens = tuple((token.text, token.start_ms) for token in t.tokens)
    return t.text, t.start_ms, t.end_ms, t.mark, tokens, tuple(t.gaps_ms)


def first_finals(written: Iterable[Transcript]) -> list[Transcript]:
    """Finals as readers count them; a repetition must say the same."""
    first: dict[str, Transcript] = {}
    for t in written:
        assert said(t) == said(first.setdefault(t.event_id, t))
    return [t for t in first.values() if t.kind == "final"]


def per_call(finals: Iterable[Transcript]) -> dict[str, list[Said]]:
    """Finals by call, in order of speech."""
    found: dict[str, list[Said]] = defaultdict(list)
    for t in finals:
        assert t.call_id is not None
        found[t.call_id].append(said(t))
    return {call: sorted(rows, key=lambda row: row[1]) for call, rows in found.items()}


class Log:
    """The topics of one stack."""

    def __init__(self, config: Settings) -> None:
        self.config = config
        self.codec = codec_of(config)
        self._producer = sync.producer_of(config, "test-edge")
        self._reader = sync.consumer_of(config, "test-reader", **sync.TO_THE_END)

    def close(self) -> None:
        """Disconnect."""
        self._producer.close()
        self._reader.close()

    def write(self, events: Iterable[Event]) -> int:
        """Write audio at once; returns the offset after the last record, on its partition."""
        sent = [sync.produce(self._producer, self.codec, AUDIO, event) for event in events]
        self._producer.flush()
        return sent[-1].offset + 1

    def write_raw(self, value: bytes, partition: int) -> int:
        """Write bytes that are no event; returns their offset."""
        sent = self._producer.send(AUDIO, value, key=b"x", partition=partition)
        self._producer.flush()
        return sent.offset

    def ends(self, topic: str = TRANSCRIPTS) -> dict[int, int]:
        """Ends of all partitions."""
        found = sync.ends_of(self._reader, [(topic, p) for p in range(CALL_PARTITIONS)])
        return {partition: end for (_, partition), end in found.items()}

    def _since(self, topic: str, since: dict[int, int]) -> list[RawRecord]:
        begins = {(topic, partition): offset for partition, offset in since.items()}
        ends = sync.ends_of(self._reader, begins)
        polls = sync.between(self._reader, begins, ends)
        return [record for poll in polls for records in poll.values() for record in records]

    def transcripts(self, since: dict[int, int]) -> list[Transcript]:
        """Transcripts from some offsets on, in the order of each partition."""
        found = [self.codec.decode(TRANSCRIPTS, r.value) for r in self._since(TRANSCRIPTS, since)]
        return [event for event in found if isinstance(event, Transcript)]

    def dead_letters(self) -> list[DeadLetter]:
        """All dead letters of the stack."""
        found = [
            self.codec.decode("dead_letters", r.value) for r in self._since("dead_letters", {0: 0})
        ]
        return [event for event in found if isinstance(event, DeadLetter)]


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    """Wait until something holds; fails naming it."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"waited {timeout_s:.0f} s for {what}"
        time.sleep(0.1)
