"""The Kafka loop around the core: consumer group on `media.audio`, finals to `asr.transcripts`.

Order within one turn of the loop (`docs/why/recogniser.md`): read, judge, produce;
then flush, check every delivery, and commit the smallest offset that a successor needs. A worker
that dies in between leaves work that is done again with the same ids.
"""

import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from asr_worker.core import SERVICE, Core, Output
from asr_worker.legs import LEG, BadChunk, CustomerLegKey, LastFinal
from asr_worker.resume import Resume, parse
from ringlog import log
from ringlog.clock import now_ms
from ringlog.health import Health
from ringlog.kafka import sync
from ringlog.kafka.dead_letters import dead_letter
from ringlog.kafka.reader import check_partition
from ringlog.kafka.sync import RawRecord
from ringlog.metrics import ASR_FINAL_LATENCY, CONSUMER_LAG, DEAD_LETTERS
from ringlog.settings import Settings
from schemas.envelope import Event
from schemas.events import MediaChunk, Transcript
from schemas.registry import RegistryError
from schemas.wire import AvroRecord, Codec, Poison

AUDIO = "media.audio"
TRANSCRIPTS = "asr.transcripts"
GROUP = "ringlog-asr"

POLL_MS = 50
BATCH = 500
"""Records a poll returns at most: 50 s of one leg, 0.2 s of work."""

STALL_S = 5.0
"""After this long without records, ask the broker whether there are any."""

ASK_AGAIN_S = 0.5
"""Interval of retries while the schema registry does not answer."""

COMMIT_EVERY_S = 0.2
LEAVE_S = 5.0
"""Longest wait of a stopping worker for the answer to its last commit."""

TURN_S = 30.0
"""A worker whose turn takes longer is stuck."""

FLUSH_S = 10.0
SESSION_MS = 6_000
"""After this a dead worker's partitions go to others; a restarted one regains its own at once,
because it has the same `instance`."""

CLOCK_SKEW_MS = 5_000
"""Finals are read back from this much before the first audio: brokers' clocks differ."""

logger = log.logger("asr_worker.host")


class TopicMissing(RuntimeError):
    """The broker does not have the contract's topics."""


class Stalled(RuntimeError):
    """The consumer returns nothing although there are records; a new process will."""


_NOT_NOW = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError._WAIT_COORD,
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
    }
)
"""A commit that fails like this is retried: the group changes, or its broker is away."""


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
        self._batch = batch
        self._next: dict[int, int] = {}
        """Offsets that are read next; its keys are the partitions that are held."""
        self._assigned = False
        self.committed: dict[int, int] = {}
        """The committed offsets of the held partitions, or their beginnings."""
        self._resume: dict[int, Resume | None] = {}
        """The commits' notes on the legs after them, for partitions not taken over yet."""
        self._stopping: Callable[[], bool] = lambda: False
        self._commit_due_s = 0.0
        self._committing: dict[int, int] = {}
        """Offsets of the commit that is on its way."""
        self._refused: KafkaException | None = None
        self._watch_due_s = time.monotonic() + STALL_S
        self._behind: dict[int, int] = {}
        self._producer = sync.producer_of(config, SERVICE, **{"linger.ms": 0})
        health.beat()
        health.beats_within_s = TURN_S
        polling: dict[str, Any] = {"fetch.wait.max.ms": POLL_MS}
        self._finals = sync.consumer_of(
            config, f"{SERVICE}-finals", **sync.TO_THE_END, **polling
        )  # fmt: skip
        if instance is not None:
            polling["group.instance.id"] = instance
        self._consumer = sync.consumer_of(
            config,
            SERVICE,
            GROUP,
            **polling,
            **{
                "session.timeout.ms": SESSION_MS,
                "heartbeat.interval.ms": SESSION_MS // 4,
                "max.poll.interval.ms": 60_000,
                "on_commit": self._committed,
            },
        )
        # A group may wait silently for a missing topic.
        if not sync.partitions_of(self._consumer, AUDIO):
            raise TopicMissing(f"{config.kafka_bootstrap} has no topic {AUDIO}: `ringlog up` first")
        self._consumer.subscribe([AUDIO], on_assign=self._assign, on_revoke=self._revoke)

    def turn(self) -> int:
        """Read, judge, produce and, when it is time, commit; returns the records read.

        Raises KafkaException when the broker refuses what must not be lost; the process then ends,
        and the next one goes on from the last commit.
        """
        self._health.beat()
        polled = sync.take(self._consumer, self._batch, POLL_MS / 1000)
        if self._refused is not None:
            raise self._refused
        count = 0
        for (_, partition), records in polled.items():
            if partition not in self._next:
                continue  # taken away while this was read
            if partition not in self._core.partitions:
                self._take_over(partition, records[0])
            for record in records:
                self._read(record)
            if partition in self._core.partitions:  # else taken away while a record waited
                self._next[partition] = records[-1].offset + 1
            count += len(records)
        self._watch(count)
        while self._core.busy:
            for output in self._core.step(time.perf_counter):
                self._publish(output)
        if time.monotonic() >= self._commit_due_s:
            self.commit()
        return count

    def commit(self) -> None:
        """Flush, check, then commit what has moved; raises DeliveryFailed or KafkaException.

        The answer comes in a later turn. A commit that is waited for may never be answered: while
        the group changes it waits for the next assignment, and that waits for the next read.
        """
        self._commit_due_s = time.monotonic() + self._commit_every_s
        self._measure_lag()
        offsets = self._core.commit_offsets()
        moved = {p: o for p, o in offsets.items() if o > self.committed.get(p, -1)}
        if not moved or self._committing:
            return
        self._producer.flush(FLUSH_S)
        wanted = [
            TopicPartition(AUDIO, p, o, metadata=self._core.resume(p).text())
            for p, o in moved.items()
        ]
        self._committing = moved
        try:
            self._consumer.commit(offsets=wanted, asynchronous=True)
        except KafkaException as error:
            self._committed(error.args[0], [])

    def _committed(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Called within a read: the answer to a commit."""
        moved, self._committing = self._committing, {}
        why = error or next((tp.error for tp in partitions if tp.error is not None), None)
        if why is None:
            self.committed |= {p: o for p, o in moved.items() if p in self._next}
        elif why.code() in _NOT_NOW:
            logger.info("commit refused; it is retried", why=why.str())
        else:
            self._refused = KafkaException(why)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Turn until told to stop, then commit and leave."""
        self._stopping = stopping
        while not stopping():
            self.turn()
            if self._assigned and not self._health.ready:
                self._health.set_ready()
        self.commit()
        give_up_s = time.monotonic() + LEAVE_S
        while self._committing and time.monotonic() < give_up_s:
            sync.take(self._consumer, 1, POLL_MS / 1000)  # what is read is no longer processed
        self.close()

    def close(self) -> None:
        """Disconnect without committing."""
        self._producer.close(FLUSH_S)
        self._consumer.close()
        self._finals.close()

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Called within a read: begins at the commit, or where the log begins."""
        places = [(tp.topic, tp.partition) for tp in partitions]
        oldest = sync.begins_of(consumer, places)
        for place, kept in sync.committed(consumer, places).items():
            _, number = place
            begin = self._next[number] = self.committed[number] = max(kept.offset, oldest[place])
            # Where the group has no offset, nobody held a leg.
            self._resume[number] = parse(kept.metadata) if kept.offset >= 0 else Resume(begin)
        consumer.assign([TopicPartition(*place, self._next[place[1]]) for place in places])
        self._assigned = True
        logger.info("assigned", partitions=sorted(number for _, number in places))

    def _revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        """Called within a read, also for partitions that were lost: forgets them."""
        self._committing = {}
        for number in (tp.partition for tp in partitions):
            self._next.pop(number, None)
            self.committed.pop(number, None)
            self._resume.pop(number, None)
            if number in self._core.partitions:
                self._core.revoke(number)

    def _watch(self, count: int) -> None:
        """Raises Stalled when twice in a row, `STALL_S` apart, records wait and none come."""
        now_s = time.monotonic()
        if count:
            self._behind, self._watch_due_s = {}, now_s + STALL_S
        if now_s < self._watch_due_s:
            return
        self._watch_due_s = now_s + STALL_S
        try:
            ends = sync.ends_of(self._consumer, [(AUDIO, p) for p in self._next])
        except KafkaException as error:
            logger.warning("the broker does not answer", why=sync.reason(error))
            self._behind = {}
            return
        for partition, at in self._next.items():
            end = ends[AUDIO, partition]
            if at < end and self._behind.get(partition) == at and self._holds_none(partition, end):
                self._next[partition] = end
                if partition in self._core.partitions:
                    self._core.skip(partition, end - 1, now_ms())
        behind = {p: o for p, o in self._next.items() if o < ends[AUDIO, p]}
        stuck = sorted(p for p, o in behind.items() if self._behind.get(p) == o)
        if stuck:
            raise Stalled(f"nothing comes from partitions {stuck}")
        self._behind = behind

    def _holds_none(self, partition: int, end: int) -> bool:
        """Whether only transaction markers are left of a partition."""
        place = AUDIO, partition
        try:
            return sync.first_between(self._finals, place, self._next[partition], end) is None
        except KafkaException as error:
            logger.warning("the broker does not answer", why=sync.reason(error))
            return False

    def _take_over(self, partition: int, first: RawRecord) -> None:
        closed = self._read_back(partition, first.timestamp_ms - CLOCK_SKEW_MS)
        self._core.assign(partition, closed, self._resume.get(partition))
        logger.info(
            "taken over", partition=partition, at_offset=first.offset, closed_legs=len(closed)
        )

    def _read_back(self, partition: int, since_ms: int) -> dict[CustomerLegKey, LastFinal]:
        """The last of each leg's finals on the log, from a time to the end as of now."""
        place = TRANSCRIPTS, partition
        ends = sync.ends_of(self._finals, [place])
        first = sync.offsets_since(self._finals, [place], since_ms)[place]
        closed: dict[CustomerLegKey, LastFinal] = {}
        if first is None:
            return closed
        for polled in sync.between(self._finals, {place: first}, ends):
            for record in polled[place]:
                try:
                    found = self._decoded(TRANSCRIPTS, record)
                    if found is None:
                        return closed  # it stops
                    final = self._codec.validated(TRANSCRIPTS, found)
                except Poison:
                    continue  # the topic's reader reports it
                if isinstance(final, Transcript) and final.kind == "final":
                    key = (final.call_id or "", final.leg, final.ssrc)
                    here = LastFinal(final.mark, final.end_ms)
                    closed[key] = max(closed.get(key, here), here)
        return closed

    def _read(self, record: RawRecord) -> None:
        partition, offset, at_ms = record.partition, record.offset, record.timestamp_ms
        try:
            found = self._decoded(AUDIO, record)
            if found is None or partition not in self._core.partitions:
                return  # it stops, or the partition was taken away while the record waited
            if found["leg"] != LEG:
                self._core.skip(partition, offset, at_ms)
                return
            chunk = self._codec.validated(AUDIO, found)
            assert isinstance(chunk, MediaChunk)
            check_partition(AUDIO, chunk, partition)
            self._core.accept(partition, offset, at_ms, chunk)
        except (Poison, BadChunk) as error:
            if partition not in self._core.partitions:
                return
            self._core.skip(partition, offset, at_ms)
            letter = dead_letter(SERVICE, AUDIO, partition, offset, str(error), record.value, at_ms)
            self._send("dead_letters", letter, None)
            DEAD_LETTERS.labels(AUDIO).inc()

    def _decoded(self, topic: str, record: RawRecord) -> AvroRecord | None:
        """A record's values; raises Poison. Waits, as a member of the group, while the registry
        gives no clear answer about its schema; None when told to stop."""
        try:
            while True:
                try:
                    return self._codec.decode_record(topic, record.value)
                except RegistryError as error:
                    why = f"registry: {error}"
                    if why != self._codec.waiting_for:
                        logger.warning("a record waits", topic=topic, why=why)
                    self._codec.waiting_for = why
                    self._health.beat()
                    if self._stopping():
                        return None
                    self._stay()
        finally:
            if self._codec.waiting_for:
                self._codec.waiting_for = ""
                logger.info("going on", what="registry")

    def _stay(self) -> None:
        """Wait a moment as a member of the group, without reading on."""
        self._consumer.pause(self._consumer.assignment())
        message = self._consumer.poll(ASK_AGAIN_S)
        if message is not None and message.error() is None:  # of a partition that has just come
            place = message.topic() or AUDIO, message.partition() or 0
            self._consumer.seek(TopicPartition(*place, message.offset() or 0))
        self._consumer.resume(self._consumer.assignment())

    def _publish(self, output: Output) -> None:
        self._send(TRANSCRIPTS, output.transcript, output.partition)
        if output.transcript.kind == "final" and output.due_ms > 0:
            ASR_FINAL_LATENCY.observe(max(0.0, now_ms() - output.due_ms) / 1000)

    def _send(self, topic: str, event: Event, partition: int | None) -> None:
        sync.produce(self._producer, self._codec, topic, event, partition)

    def _measure_lag(self) -> None:
        lag = 0
        for partition, offset in self._next.items():
            _, end = self._consumer.get_watermark_offsets(
                TopicPartition(AUDIO, partition), cached=True
            )
            lag += max(0, end - offset)  # an end that is not known yet is negative
        CONSUMER_LAG.labels(AUDIO, GROUP).set(lag)
