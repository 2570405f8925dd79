"""The Kafka loop around the core: consumer group on `media.audio`, finals to `asr.transcripts`.

Order within one turn of the loop (`references/asr-worker.md`, rules 5 to 7): read, judge, produce;
then flush, check every delivery, and commit the smallest offset that a successor needs. A worker
that dies in between leaves work that is done again with the same ids.
"""

import time
from collections.abc import Callable
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import CommitFailedError, RebalanceInProgressError
from kafka.structs import OffsetAndMetadata
from pydantic import ValidationError

from asr_worker.core import SERVICE, Core, Output
from asr_worker.legs import LEG, BadChunk, LegKey
from ringlog import log
from ringlog.clock import now_ms
from ringlog.health import Health
from ringlog.kafka.dead_letters import dead_letter
from ringlog.kafka.reader import check_partition
from ringlog.kafka.sync import consumer_of, produce, producer_of
from ringlog.metrics import ASR_FINAL_LATENCY, CONSUMER_LAG, DEAD_LETTERS
from ringlog.settings import Settings
from schemas.events import MediaChunk, Transcript
from schemas.wire import Codec, Poison

AUDIO = "media.audio"
TRANSCRIPTS = "asr.transcripts"
GROUP = "ringlog-asr"

POLL_MS = 50
BATCH = 500
"""Records a poll returns at most: 50 s of one leg, 0.2 s of work."""

POSITION_MS = 10_000
"""Longest wait for where to read on, after partitions were assigned."""

STALL_S = 5.0
"""A consumer that gets nothing for so long is asked whether there is nothing."""

COMMIT_EVERY_S = 0.2
FLUSH_S = 10.0
SESSION_MS = 6_000
"""After this a dead worker's partitions go to others; a restarted one has its own back at once,
because it comes with the same `instance`."""

CLOCK_SKEW_MS = 5_000
"""Finals are read back from this much before the first audio: brokers' clocks differ."""

logger = log.logger("asr_worker.host")


class TopicMissing(RuntimeError):
    """The broker does not have the contract's topics."""


class Stalled(RuntimeError):
    """The consumer hands out nothing although there are records; a new process will."""


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc] # kafka-python is untyped
    """Notes what changed; called within `poll`, so the loop acts on it right after."""

    def __init__(self) -> None:
        self.gone: set[int] = set()
        self.fresh: set[TopicPartition] = set()
        self.assigned = False

    def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        self.gone.update(tp.partition for tp in revoked)

    def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        self.assigned = True
        self.fresh.update(assigned)
        logger.info("assigned", partitions=sorted(tp.partition for tp in assigned))

    def on_partitions_lost(self, lost: list[TopicPartition]) -> None:
        self.gone.update(tp.partition for tp in lost)


class Host:
    """One worker process. `turn` is one turn of its loop."""

    def __init__(
        self,
        config: Settings,
        core: Core,
        codec: Codec,
        health: Health,
        instance: str | None,
        *,
        batch: int = BATCH,
        commit_every_s: float = COMMIT_EVERY_S,
    ) -> None:
        """`instance` is the static member's name in the group; None joins as a new member."""
        self._commit_every_s = commit_every_s
        self._core = core
        self._codec = codec
        self._health = health
        self._rebalances = _Rebalances()
        self._unacknowledged: list[Any] = []
        self.committed: dict[int, int] = {}
        self._commit_due_s = 0.0
        self._watch_due_s = time.monotonic() + STALL_S
        self._behind: dict[TopicPartition, int | None] = {}
        codec.warm(TRANSCRIPTS, "dead_letters")
        self._producer: KafkaProducer = producer_of(config, SERVICE, linger_ms=0)
        self._finals: KafkaConsumer = consumer_of(config, f"{SERVICE}-finals", group_id=None)
        self._consumer: KafkaConsumer = consumer_of(
            config,
            SERVICE,
            group_id=GROUP,
            group_instance_id=instance,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=SESSION_MS // 4,
            max_poll_interval_ms=60_000,
            fetch_max_wait_ms=POLL_MS,
            max_poll_records=batch,
        )
        # Ask for the topic first: the leader of a group that knows no partitions yet assigns none,
        # and may stay at that.
        if not self._consumer.partitions_for_topic(AUDIO):
            raise TopicMissing(f"{config.kafka_bootstrap} has no topic {AUDIO}: `ringlog up` first")
        self._consumer.subscribe([AUDIO], listener=self._rebalances)

    def turn(self) -> int:
        """Read, judge, produce and, when it is time, commit; returns the records read.

        Raises KafkaError when the broker refuses what must not be lost; the process then ends,
        and the next one goes on from the last commit.
        """
        polled: dict[TopicPartition, list[Any]] = self._consumer.poll(timeout_ms=POLL_MS)
        self._forget_revoked()
        self._find_positions()
        self._watch(bool(polled))
        count = 0
        for tp, records in polled.items():
            if tp.partition not in self._core.partitions:
                self._take_over(tp.partition, records[0])
            for record in records:
                self._read(record)
            count += len(records)
        while self._core.busy:
            for output in self._core.step(time.perf_counter):
                self._publish(output)
        if time.monotonic() >= self._commit_due_s:
            self.commit()
        return count

    def commit(self) -> None:
        """Flush, check, then commit what has moved; raises KafkaError for a failed delivery."""
        self._commit_due_s = time.monotonic() + self._commit_every_s
        self._measure_lag()
        offsets = self._core.commit_offsets()
        moved = {p: o for p, o in offsets.items() if o > self.committed.get(p, -1)}
        if not moved:
            return
        self._producer.flush(timeout=FLUSH_S)
        for future in self._unacknowledged:
            future.get(timeout=FLUSH_S)
        self._unacknowledged.clear()
        wanted = {
            TopicPartition(AUDIO, p): OffsetAndMetadata(offset, "", -1)
            for p, offset in moved.items()
        }
        try:
            self._consumer.commit(wanted)
            self.committed |= moved
        except (CommitFailedError, RebalanceInProgressError):
            logger.info("commit refused, the group is changing; the work is done again")

    def run(self, stopping: Callable[[], bool]) -> None:
        """Turn until told to stop, then commit and leave."""
        while not stopping():
            self.turn()
            if self._rebalances.assigned and not self._rebalances.fresh and not self._health.ready:
                self._health.set_ready()
        self.commit()
        self.close()

    def close(self) -> None:
        """Disconnect without committing."""
        self._producer.close(timeout=FLUSH_S)
        self._consumer.close(autocommit=False)
        self._finals.close(autocommit=False)

    def _find_positions(self) -> None:
        """Waits until it is known where newly assigned partitions are read on.

        A poll gives that question only its own short time; on a busy machine the answer takes
        longer, poll after poll.
        """
        held = self._consumer.assignment()
        for tp in sorted(self._rebalances.fresh):
            if tp not in held or self._consumer.position(tp, timeout_ms=POSITION_MS) is not None:
                self._rebalances.fresh.discard(tp)

    def _watch(self, busy: bool) -> None:
        """Raises Stalled when twice in a row, `STALL_S` apart, records wait and none come."""
        now_s = time.monotonic()
        if busy:
            self._behind, self._watch_due_s = {}, now_s + STALL_S
        if now_s < self._watch_due_s:
            return
        self._watch_due_s = now_s + STALL_S
        held = list(self._consumer.assignment())
        if not held:
            return
        ends = self._consumer.end_offsets(held)
        behind = {
            tp: position
            for tp in held
            if (position := self._consumer.position(tp, timeout_ms=POSITION_MS)) is None
            or position < ends[tp]
        }
        stuck = {tp for tp, position in behind.items() if self._behind.get(tp, -1) == position}
        if stuck:
            raise Stalled(f"nothing comes from partitions {sorted(tp.partition for tp in stuck)}")
        self._behind = behind

    def _forget_revoked(self) -> None:
        for partition in self._rebalances.gone & set(self._core.partitions):
            self._core.revoke(partition)
            self.committed.pop(partition, None)
        self._rebalances.gone.clear()

    def _take_over(self, partition: int, first: Any) -> None:
        closed = self._read_back(partition, first.timestamp - CLOCK_SKEW_MS)
        self._core.assign(partition, closed)
        logger.info(
            "taken over", partition=partition, at_offset=first.offset, closed_legs=len(closed)
        )

    def _read_back(self, partition: int, since_ms: int) -> dict[LegKey, int]:
        """Highest mark of each leg's finals on the log, from a time to the end as of now."""
        tp = TopicPartition(TRANSCRIPTS, partition)
        self._finals.assign([tp])
        end = self._finals.end_offsets([tp])[tp]
        found = self._finals.offsets_for_times({tp: max(since_ms, 0)})[tp]
        closed: dict[LegKey, int] = {}
        if found is None or found.offset >= end:
            return closed
        self._finals.seek(tp, found.offset)
        while self._finals.position(tp) < end:
            for record in self._finals.poll(timeout_ms=200).get(tp, ()):
                try:
                    final = self._codec.decode(TRANSCRIPTS, record.value)
                except Poison:
                    continue  # whoever consumes the topic reports it
                if isinstance(final, Transcript) and final.kind == "final":
                    key = (final.call_id or "", final.leg, final.ssrc)
                    closed[key] = max(closed.get(key, 0), final.mark)
        return closed

    def _read(self, record: Any) -> None:
        partition, offset, at_ms = record.partition, record.offset, record.timestamp
        try:
            found = self._codec.decode_record(AUDIO, record.value)
            if found["leg"] != LEG:
                self._core.skip(partition, offset, at_ms)
                return
            chunk = MediaChunk.model_validate(found)
            check_partition(AUDIO, chunk, partition)
            self._core.accept(partition, offset, at_ms, chunk)
        except (Poison, BadChunk) as error:
            self._core.skip(partition, offset, at_ms)
            letter = dead_letter(SERVICE, AUDIO, partition, offset, str(error), record.value, at_ms)
            self._send("dead_letters", letter, None)
            DEAD_LETTERS.labels(AUDIO).inc()

    def _publish(self, output: Output) -> None:
        self._send(TRANSCRIPTS, output.transcript, output.partition)
        if output.transcript.kind == "final" and output.due_ms > 0:
            ASR_FINAL_LATENCY.observe(max(0.0, now_ms() - output.due_ms) / 1000)

    def _send(self, topic: str, event: Any, partition: int | None) -> None:
        future = produce(self._producer, self._codec, topic, event, partition)
        self._unacknowledged.append(future)

    def _measure_lag(self) -> None:
        lag = 0
        for tp in self._consumer.assignment():
            highest = self._consumer.highwater(tp)
            if highest is not None:
                lag += max(0, highest - self._consumer.position(tp))
        CONSUMER_LAG.labels(AUDIO, GROUP).set(lag)


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"field {'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
