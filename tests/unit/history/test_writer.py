"""What the writer does when something is away or refuses."""

import threading
from typing import Any

import pytest

from ringlog.health import Health
from ringlog.kafka.sync import Delivery, DeliveryFailed
from ringlog.stopping import Stopped
from schemas.catalogue import TOPICS, Topic
from schemas.partition import partition_of
from schemas.registry import MemoryRegistry, RegistryError
from schemas.wire import Codec
from streams.history import writer as w
from streams.history.batch import RowBatch
from streams.history.clickhouse import Away, InsertRefused
from streams.history.container import Row
from streams.history.sorting import Bad
from streams.history.writer import BatchWriter, DeadLetterWriter, Retrying
from tests.unit.history.samples import record

TOPIC = TOPICS["calls.events"]


class FakeClickHouse:
    """Counts what it is sent; refuses containers with certain bytes, is away a few times."""

    def __init__(self, hates: bytes = b"\0\0none\0", away: int = 0) -> None:
        self.hates = hates
        self.away = away
        self.inserts: list[tuple[str, str, bytes]] = []

    def insert(self, table: str, columns: Any, container: bytes, token: str) -> None:
        if self.away:
            self.away -= 1
            raise Away("not there")
        if self.hates in container:
            raise InsertRefused("Code: 117. hates it")
        self.inserts.append((table, token, container))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(w, "_FIRST_PAUSE_S", 0.0)


class Bench:
    def __init__(self, clickhouse: FakeClickHouse) -> None:
        self.registry = MemoryRegistry()
        self.codec = Codec(self.registry)
        self.health = Health("history")
        self.stopping = threading.Event()
        self.patience = Retrying(self.health, self.stopping)
        self.buried: list[tuple[str, int, str]] = []
        self.writer = BatchWriter(
            clickhouse,  # type: ignore[arg-type] # a stand-in
            self.codec,
            self.patience,
            self.bury,
        )

    def bury(self, topic: Topic, poison: list[Bad]) -> None:
        self.buried += [(topic.name, bad.row.offset, bad.reason) for bad in poison]

    def batch(self, *texts: str) -> RowBatch:
        partition = partition_of("c", 8)
        rows = [
            Row(partition, n, 0, self.codec.encode(
                TOPIC.name, record(TOPIC, n, call_id="c", source=text)))
            for n, text in enumerate(texts)
        ]  # fmt: skip
        place = TOPIC.name, partition
        return RowBatch({place: rows}, {place: 0}, {place: len(rows)})


def test_a_batch_written_again_has_the_same_blocks() -> None:
    clickhouse = FakeClickHouse()
    bench = Bench(clickhouse)
    batch = bench.batch("a", "b", "c")
    assert bench.writer.write(batch) == bench.writer.write(batch) == 3
    first, second = clickhouse.inserts
    assert first == second
    assert first[:2] == ("raw_calls_events", f"calls.events:{partition_of('c', 8)}=0-2")


def test_what_clickhouse_refuses_is_found_by_halving() -> None:
    clickhouse = FakeClickHouse(hates=b"poisonous")
    bench = Bench(clickhouse)
    texts = ["fine"] * 20
    texts[3] = texts[17] = "poisonous"
    assert bench.writer.write(bench.batch(*texts)) == 18
    assert [(name, offset) for name, offset, _ in bench.buried] == [
        (TOPIC.name, 3), (TOPIC.name, 17),
    ]  # fmt: skip
    assert "hates it" in bench.buried[0][2]


def test_waits_for_what_is_away_and_says_so() -> None:
    clickhouse = FakeClickHouse(away=3)
    bench = Bench(clickhouse)
    bench.patience.started()
    seen: list[str] = []
    original = bench.health.set_waiting

    def noted(why: str) -> None:
        seen.append(why)
        original(why)

    bench.health.set_waiting = noted  # type: ignore[method-assign]
    assert bench.writer.write(bench.batch("a")) == 1
    assert seen == ["clickhouse: not there"] * 3
    assert bench.health.ready


def test_stops_waiting_when_told_to() -> None:
    bench = Bench(FakeClickHouse(away=10**9))
    bench.stopping.set()
    with pytest.raises(Stopped):
        bench.writer.write(bench.batch("a"))


def test_one_recovery_does_not_hide_another_wait() -> None:
    bench = Bench(FakeClickHouse())
    bench.patience.started()
    answers = iter([Away("one"), RegistryError("two")])

    def inner() -> str:
        for error in answers:
            raise error
        return "done"

    def outer() -> str:
        if not waited:
            waited.append(True)
            raise Away("outer")
        assert not bench.health.ready  # while the outer one is waited for
        found = bench.patience.call("registry", inner)
        assert not bench.health.ready
        return found

    waited: list[bool] = []
    assert bench.patience.call("clickhouse", outer) == "done"
    assert bench.health.ready


class FakeProducer:
    """Acknowledges, or fails as often as told, for all producers together."""

    failures = 0
    made = 0

    def __init__(self) -> None:
        FakeProducer.made += 1
        self.sent: list[tuple[str, bytes]] = []

    def send(self, topic: str, value: bytes, *, key: bytes, partition: int) -> Delivery:
        self.sent.append((topic, value))
        return Delivery(topic, partition)

    def flush(self, timeout_s: float) -> None:
        if FakeProducer.failures:
            FakeProducer.failures -= 1
            raise DeliveryFailed("dead_letters: not acknowledged")

    def close(self, timeout_s: float) -> None:
        pass


def test_dead_letters_are_acknowledged_or_sent_again_with_a_new_producer() -> None:
    bench = Bench(FakeClickHouse())
    FakeProducer.failures, FakeProducer.made = 2, 0
    made: list[FakeProducer] = []

    def connect() -> FakeProducer:
        made.append(FakeProducer())
        return made[-1]

    letters = DeadLetterWriter(connect, bench.codec, bench.patience)  # type: ignore[arg-type]
    letters.bury(TOPIC, [Bad(Row(4, 77, -1, b"bytes"), "a reason")])
    assert FakeProducer.made == 3
    ((name, value),) = made[-1].sent
    letter = bench.codec.decode("dead_letters", value).model_dump()
    assert name == "dead_letters"
    assert letter["raw"] == b"bytes" and letter["reason"] == "a reason"
    place = letter["source_topic"], letter["source_partition"], letter["source_offset"]
    assert place == (TOPIC.name, 4, 77)
    assert made[0].sent == made[-1].sent  # the same id each time
