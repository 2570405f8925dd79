"""The archiver: follows `calls.events`, and writes the sound of calls that have ended to files.

Files first, then the index, then the offset: after a crash between any two, the work is repeated
and found done. While something is away or the disk is full, nothing is committed and the service
reports that it waits.
"""

import threading
import time
from contextlib import closing
from datetime import UTC, datetime

from confluent_kafka import Consumer, KafkaException, TopicPartition

from ringlog.clock import now_ms
from ringlog.health import Health
from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.log import logger
from ringlog.metrics import RECORDING_BYTES, RECORDINGS, RECORDINGS_WAITING_AGE
from ringlog.settings import Settings
from ringlog.stopping import Stopped
from schemas.catalogue import topic
from schemas.registry import RegistryError
from schemas.wire import Codec, Poison
from streams.archive.files import Archive, Recording, day_of, first_day_kept
from streams.archive.index import IndexAway, RecordingIndex
from streams.archive.ledger import Ledger, Open, choose
from streams.archive.sound import TOPIC as SOUND
from streams.archive.sound import CallHeard, listen

SERVICE = "archive"
GROUP = "archive"

_EVENTS = "calls.events"
_POLL_S = 1.0
_PASS_EVERY_S = 5.0
"""One pass reads a stretch of time for all calls that have ended, not once for each."""
_PASS_BYTES = 64 << 20
_WIDE_MARGIN_MS = 900_000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 30.0
_DAY_MS = 86_400_000
_WARN_EVERY_S = 600.0
_KEPT_MS = topic(SOUND).retention_ms

_log = logger("ringlog.archive")


class Archiver:
    """Runs until `stopping` is set."""

    def __init__(self, config: Settings, health: Health, stopping: threading.Event) -> None:
        self._config = config
        self._health = health
        self._stopping = stopping
        self._codec: Codec = codec_of(config)
        self._archive = Archive(config.recordings_dir)
        self._index = RecordingIndex(config)
        self._consumer: Consumer | None = None
        self._ledgers: dict[int, Ledger] = {}
        self._positions: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._pass_due_s = 0.0
        self._warn_due_s = 0.0
        self._kept_from: str | None = None
        self._waiting = ""

    def run(self) -> None:
        """Returns on request; uncommitted work is repeated at the next start."""
        pause_s = _FIRST_PAUSE_S
        try:
            while not self._stopping.is_set():
                try:
                    self._turn()
                except (KafkaException, RegistryError, IndexAway, OSError) as error:
                    self._wait(error)
                    self._stopping.wait(pause_s)
                    pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                else:
                    self._go_on()
                    pause_s = _FIRST_PAUSE_S
        except Stopped:
            pass
        finally:
            self._disconnect()
            self._index.close()

    def _turn(self) -> None:
        self._read()
        now = now_ms()
        due = [call for ledger in self._ledgers.values() for call in ledger.due(now)]
        self._tell(due, now)
        if due and time.monotonic() >= self._pass_due_s:
            chosen = choose(due, _PASS_BYTES)
            self._keep(chosen, now)
            if len(chosen) == len(due):
                self._pass_due_s = time.monotonic() + _PASS_EVERY_S
        self._commit()
        self._expire()

    def _read(self) -> None:
        """Passes new records to the ledgers. After an error, reading restarts at the committed
        offsets, since Kafka does not hand out a record twice."""
        try:
            consumer = self._consumer or self._connect()
            ended: dict[sync.Place, int] = {}
            polled = sync.take(consumer, sync.AT_ONCE, _POLL_S, ended, patient=True)
            now = now_ms()
            for (_, partition), records in polled.items():
                for record in records:
                    self._see(self._ledgers[partition], record, now)
                self._positions[partition] = records[-1].offset + 1
            for (_, partition), end in ended.items():  # behind markers of transactions, too
                self._positions[partition] = max(self._positions[partition], end)
        except BaseException:
            self._disconnect()
            raise

    def _see(self, ledger: Ledger, record: sync.RawRecord, now: int) -> None:
        """A call is known by its key, so that one whose first record is poison is not forgotten."""
        at_ms = max(0, record.timestamp_ms)
        kind, started_at = "", at_ms
        try:
            event = self._codec.decode_record(_EVENTS, record.value)
            kind, started_at = event["kind"], event["occurred_at"]
        except Poison:
            pass  # the history sink sends it to dead_letters
        if key := _call_of(record):
            ledger.see(record.offset, at_ms, key, kind, started_at, now)

    def _connect(self) -> Consumer:
        """A consumer at the committed offsets; without any, at the oldest calls that still have
        sound."""
        sync.announce(self._config, SERVICE, self._codec)
        consumer = sync.consumer_of(self._config, SERVICE, GROUP, **sync.TO_THE_END)
        try:
            places = [(_EVENTS, n) for n in sync.partitions_of(consumer, _EVENTS)]
            if not places:
                raise OSError(f"topic {_EVENTS} does not exist; run `python -m schemas.apply`")
            kept = sync.committed(consumer, places)
            begins, ends = sync.begins_of(consumer, places), sync.ends_of(consumer, places)
            recent = sync.offsets_since(consumer, places, now_ms() - _KEPT_MS)
            old = {p: ends[p] if at is None else at for p, at in recent.items()}
            starts = {p: max(kept[p].offset, begins[p]) if kept[p].offset >= 0 else old[p]
                      for p in places}  # fmt: skip
            self._ledgers = {number: Ledger(number) for _, number in places}
            self._know(old, starts)
            self._positions = {number: starts[_EVENTS, number] for _, number in places}
            self._committed = {number: kept[_EVENTS, number].offset for _, number in places}
            consumer.assign([TopicPartition(*place, at) for place, at in starts.items()])
        except BaseException:
            consumer.close()
            raise
        self._consumer = consumer
        _log.info("reading", partitions=len(places))
        return consumer

    def _know(self, old: dict[sync.Place, int], starts: dict[sync.Place, int]) -> None:
        """Calls that began before the committed offsets are archived."""
        options = {**sync.TO_THE_END, "client.id": "archive-past"}
        with closing(sync.consumer_of(self._config, "archive-past", **options)) as consumer:
            for polled in sync.between(consumer, old, starts):
                for (_, partition), records in polled.items():
                    for r in records:
                        self._ledgers[partition].know(_call_of(r), max(0, r.timestamp_ms))

    def _disconnect(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _keep(self, calls: list[Open], now: int) -> None:
        """Archives calls, except those whose sound is still on its way."""
        recordings: list[Recording] = []
        finished: list[Open] = []
        unheard: list[Open] = []
        for call in calls:
            days = [day_of(call.first_ms + n * _DAY_MS) for n in (0, 1, -1)]
            there = self._archive.find(call.call_id, days)
            if there is None:
                unheard.append(call)
            else:  # done before a crash, as far as the file
                recordings.append(there)
                finished.append(call)
        stopped = self._stopping.is_set
        heard = listen(self._config, self._codec, unheard, now, stopped) if unheard else {}
        for call in unheard:
            found = heard.pop(call.call_id)
            if self._must_wait(call, found, now):
                continue
            if (made := self._write(call, found, now)) is not None:
                recordings.append(made)
            finished.append(call)
        self._index.put(recordings)
        for call in finished:
            self._ledgers[call.partition].done(call)
        if finished:
            _log.info("archived", calls=len(finished), recordings=len(recordings))

    def _must_wait(self, call: Open, found: CallHeard, now: int) -> bool:
        """Whether to look again later, or from earlier on."""
        missing = call.answered and found.sound.empty
        if (missing or not found.sound.ended) and not call.given_up(now):
            return True
        earlier = call.margin_ms < _WIDE_MARGIN_MS and not found.log_begins_later
        if (missing or found.cut) and earlier:
            call.margin_ms = _WIDE_MARGIN_MS
            return True
        return False

    def _write(self, call: Open, found: CallHeard, now: int) -> Recording | None:
        tracks = found.sound.tracks()
        lost = found.log_begins_later and (found.cut or (call.answered and not tracks))
        if lost:
            _log.error("sound expired before it was archived", call_id=call.call_id)
        if found.sound.left_out:
            _log.warning("unusable chunks", call_id=call.call_id, count=found.sound.left_out)
        RECORDINGS.labels("lost" if lost else "archived" if tracks else "silent").inc()
        if not tracks:
            return None
        day = day_of(call.first_ms if found.first_ms is None else found.first_ms)
        made = self._archive.write(call.call_id, day, call.started_at, now, tracks)
        RECORDING_BYTES.inc(sum(leg.bytes for leg in made.legs))
        return made

    def _commit(self) -> None:
        safe = {n: ledger.safe(self._positions[n]) for n, ledger in self._ledgers.items()}
        moved = {n: at for n, at in safe.items() if at > self._committed[n]}
        if moved and self._consumer is not None:
            sync.commit(self._consumer, [TopicPartition(_EVENTS, n, at) for n, at in moved.items()])
            self._committed |= moved

    def _expire(self) -> None:
        """Once a day: deletes what is older than `recordings_days`, rows first, then files."""
        today = datetime.fromtimestamp(now_ms() / 1000, UTC).date()
        kept_from = first_day_kept(today, self._config.recordings_days)
        if kept_from is None or kept_from == self._kept_from:
            return
        if any(day < kept_from for day in self._archive.days()):
            self._index.drop_before(kept_from)
            files = self._archive.drop_before(kept_from)
            _log.info("recordings expired", before=kept_from, files=files)
        for ledger in self._ledgers.values():
            ledger.forget(now_ms() - _KEPT_MS - _DAY_MS)
        self._kept_from = kept_from

    def _tell(self, due: list[Open], now: int) -> None:
        """The age of the oldest unarchived sound; logs an error while there is still time to
        act."""
        age_ms = max((now - call.first_ms for call in due), default=0)
        RECORDINGS_WAITING_AGE.set(age_ms / 1000)
        if age_ms > _KEPT_MS // 2 and time.monotonic() >= self._warn_due_s:
            self._warn_due_s = time.monotonic() + _WARN_EVERY_S
            _log.error(
                "sound is not archived yet and will expire",
                calls=len(due), oldest_h=round(age_ms / 3_600_000, 1),
                kept_h=round(_KEPT_MS / 3_600_000, 1), waiting_for=self._waiting,
            )  # fmt: skip

    def _wait(self, error: Exception) -> None:
        why = sync.reason(error) if isinstance(error, KafkaException) else str(error)
        if why != self._waiting:
            _log.warning("waiting", why=why)
        self._waiting = why
        self._health.set_waiting(why)

    def _go_on(self) -> None:
        if self._waiting:
            _log.info("going on")
            self._waiting = ""
        self._health.set_ready()


def _call_of(record: sync.RawRecord) -> str:
    return (record.key or b"").decode("utf-8", "replace")
