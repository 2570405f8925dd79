"""What the worker's tests do on Kafka themselves: write audio, read transcripts, compare."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from kafka import TopicPartition

from ringlog.kafka.codec import codec_of
from ringlog.kafka.sync import consumer_of, produce, producer_of
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
        self._producer = producer_of(config, "test-edge", linger_ms=5)
        self._reader = consumer_of(config, "test-reader", group_id=None)

    def close(self) -> None:
        """Disconnect."""
        self._producer.close()
        self._reader.close()

    def write(self, events: Iterable[Event]) -> int:
        """Write audio at once; returns the offset after the last record, on its partition."""
        futures = [produce(self._producer, self.codec, AUDIO, event) for event in events]
        self._producer.flush()
        return int([future.get(timeout=30) for future in futures][-1].offset) + 1

    def write_raw(self, value: bytes, partition: int) -> int:
        """Write bytes that are no event; returns their offset."""
        future = self._producer.send(AUDIO, value=value, key=b"x", partition=partition)
        return int(future.get(timeout=30).offset)

    def ends(self, topic: str = TRANSCRIPTS) -> dict[int, int]:
        """Ends of all partitions."""
        tps = [TopicPartition(topic, p) for p in range(CALL_PARTITIONS)]
        found: dict[Any, int] = self._reader.end_offsets(tps)
        return {tp.partition: int(end) for tp, end in found.items()}

    def _since(self, topic: str, since: dict[int, int]) -> list[Any]:
        tps = [TopicPartition(topic, p) for p in since]
        ends = self._reader.end_offsets(tps)
        self._reader.assign(tps)
        for tp in tps:
            self._reader.seek(tp, since[tp.partition])
        records: list[Any] = []
        while any(self._reader.position(tp) < ends[tp] for tp in tps):
            for found in self._reader.poll(timeout_ms=300).values():
                records += found
        return records

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
