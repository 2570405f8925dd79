"""Our rules around librdkafka: nothing is lost in silence, and ends are found."""

import logging
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from ringlog.kafka import sync
from ringlog.kafka.librdkafka_log import library_logger
from ringlog.settings import Settings

NOWHERE = Settings(kafka="127.0.0.1:9")
A, B = ("a", 0), ("b", 1)


def test_a_record_that_is_too_large_is_refused_by_name() -> None:
    producer = sync.producer_of(NOWHERE, "test")
    with pytest.raises(sync.DeliveryFailed, match="audit: a record of 2097153 bytes"):
        producer.send("audit", bytes(2_097_153), partition=0)
    producer.flush(0)
    producer.close(0)


def test_flush_names_what_the_broker_does_not_have() -> None:
    producer = sync.producer_of(NOWHERE, "test")
    for topic in ("audit", "audit", "calls.events"):
        assert producer.send(topic, b"x", partition=0).offset < 0
    with pytest.raises(sync.DeliveryFailed, match="audit, calls.events: 3 records"):
        producer.flush(0.05)
    producer.close(0)


def test_a_producer_that_lost_a_record_stays_failed() -> None:
    producer = sync.producer_of(NOWHERE, "test", **{"message.timeout.ms": 50})
    producer.send("audit", b"x", partition=0)
    for _ in range(2):
        with pytest.raises(sync.DeliveryFailed, match="audit: .*timed out"):
            producer.flush()
    with pytest.raises(sync.DeliveryFailed, match="audit: .*timed out"):
        producer.send("calls.events", b"x", partition=0)
    producer.close(0)


def test_a_full_queue_is_waited_for() -> None:
    options = {"queue.buffering.max.messages": 1, "message.timeout.ms": 500}
    producer = sync.producer_of(NOWHERE, "test", **options)
    producer.send("audit", b"x", partition=0)
    with pytest.raises(sync.DeliveryFailed, match="timed out"):  # of the first; no BufferError
        producer.send("audit", b"y", partition=0)
    producer.close(0)


def message(place: sync.Place, offset: int, error: KafkaError | None = None) -> Message:
    return Message(
        topic=place[0], partition=place[1], offset=offset, value=b"v", error=error,
        timestamp=(1, 1_000 + offset),
    )  # fmt: skip


def end(place: sync.Place, offset: int) -> Message:
    return message(place, offset, KafkaError(KafkaError._PARTITION_EOF))


class FakeConsumer:
    """Hands out messages in lots, one a turn, of the partitions that are still assigned."""

    def __init__(self, *lots: list[Message]) -> None:
        self.lots = list(lots)
        self.left: list[Message] = []
        self.places: set[sync.Place] = set()
        self.starts: dict[sync.Place, int] = {}

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.starts = {(tp.topic, tp.partition): tp.offset for tp in partitions}
        self.places = set(self.starts)

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        self.places -= {(tp.topic, tp.partition) for tp in partitions}

    def unassign(self) -> None:
        self.places = set()

    def poll(self, timeout: float) -> Message | None:
        lot = self.lots.pop(0) if self.lots else []
        self.left = [m for m in lot if (m.topic(), m.partition()) in self.places or not self.starts]
        return self.left.pop(0) if self.left else None

    def consume(self, most: int, timeout: float) -> list[Message]:
        assert timeout == 0
        taken, self.left = self.left[:most], self.left[most:]
        return taken


def taken(consumer: Any, **options: Any) -> dict[sync.Place, list[int]]:
    found = sync.take(consumer, 10, 0.0, **options)
    return {place: [r.offset for r in records] for place, records in found.items()}


def test_take_sorts_by_place_and_notes_ends() -> None:
    lot = [message(A, 1), message(B, 7), end(B, 8), message(A, 2)]
    ended: dict[sync.Place, int] = {}
    assert taken(FakeConsumer(lot), ended=ended) == {A: [1, 2], B: [7]}
    assert ended == {B: 8}


@pytest.mark.parametrize("code", [KafkaError.FENCED_INSTANCE_ID, KafkaError._FATAL])
def test_trouble_that_passes_is_logged_and_the_rest_raised(
    caplog: pytest.LogCaptureFixture, code: int
) -> None:
    passing = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, f"not there just now, {code}")
    assert taken(FakeConsumer([message(A, 0, passing), message(A, 1)])) == {A: [1]}
    assert f"not there just now, {code}" in caplog.text
    fatal = KafkaError(code, "another has this name", code != KafkaError._FATAL)
    with pytest.raises(KafkaException) as raised:
        taken(FakeConsumer([message(A, 1), message(A, 0, fatal)]))
    assert sync.code_of(raised.value) == code
    assert sync.reason(raised.value) == "another has this name"


def ranges(
    consumer: Any, begins: dict[sync.Place, int], ends: dict[sync.Place, int]
) -> list[tuple[str, int]]:
    polls = sync.between(consumer, begins, ends)
    return [(r.topic, r.offset) for poll in polls for records in poll.values() for r in records]


def test_between_reads_up_to_the_ends_and_no_further() -> None:
    consumer = FakeConsumer(
        [message(A, 3), message(A, 4), message(A, 5)], [message(A, 6), message(B, 0)], [end(B, 9)]
    )
    # Of B all but the first is gone by compaction: only its end says that no more comes.
    found = ranges(consumer, {A: 3, B: 0, ("c", 0): 5}, {A: 5, B: 9, ("c", 0): 5})
    assert found == [("a", 3), ("a", 4), ("b", 0)]
    assert consumer.starts == {A: 3, B: 0}, "an empty range is not asked for"
    assert not consumer.places


def test_a_hole_at_the_end_is_an_end() -> None:
    assert ranges(FakeConsumer([message(A, 3), message(A, 9)]), {A: 0}, {A: 7}) == [("a", 3)]


def test_silence_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "SILENCE_S", 0.0)
    with pytest.raises(KafkaException) as raised:
        ranges(FakeConsumer([message(A, 3)]), {A: 3}, {A: 9})
    assert "from a[0]" in sync.reason(raised.value)


def test_the_library_repeats_itself_only_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    logger = library_logger()
    for number in range(3):
        for client in ("one", "two"):
            logger.log(logging.ERROR, "%s [%s] %s", "FAIL", client, f"try {number}")
    mine = [r.getMessage() for r in caplog.records if "try" in r.getMessage()]
    assert mine == ["FAIL [one] try 0", "FAIL [two] try 0"]


def test_a_question_to_a_leader_that_has_changed_is_asked_again() -> None:
    class Restarted:
        asked = 0

        def offsets_for_times(
            self, asked: list[TopicPartition], timeout: float
        ) -> list[TopicPartition]:
            self.asked += 1
            if self.asked == 1:
                raise KafkaException(KafkaError(KafkaError.FENCED_LEADER_EPOCH))
            return [TopicPartition(tp.topic, tp.partition, 7) for tp in asked]

    consumer: Any = Restarted()
    assert sync.ends_of(consumer, (place for place in (A, B))) == {A: 7, B: 7}
    assert consumer.asked == 2
