"""A log that has forgotten its beginning: tables are made again without losing what it had, and a
topic is read from its first record on."""

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
from clickhouse_driver import Client
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.kafka.replay import replay
from ringlog.settings import Settings, root
from schemas.catalogue import TOPICS, Topic
from schemas.events import CustomerChange
from schemas.ids import root_id
from schemas.phone import Numbers
from schemas.wire import AvroRecord
from streams.history.columns import TOPICS_KEPT
from streams.history.compare import compare
from streams.history.rebuild import AnotherLog, rebuild
from streams.profiles.refold import Refold
from streams.profiles.router import INBOX, copies
from tests.integration.history.support import Log, Offsets, SinkProcess, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

SHORTENED = [t for t in TOPICS_KEPT if not t.compacted]
REPLAYED = [TOPICS[name] for name in ("profiles.inbox", "asr.transcripts", "dialogue.turns",
                                      "tasks.requested", "dead_letters", "customers.changes",
                                      "customers.profiles")]  # fmt: skip


@pytest.fixture
def client(stack: Settings) -> Iterator[Client]:
    host, port = stack.clickhouse_native
    made = Client(host, port, stack.clickhouse_database)
    yield made
    made.disconnect()


@pytest.fixture
def log(stack: Settings) -> Iterator[Log]:
    made = Log(stack)
    yield made
    made.close()


@pytest.fixture
def offsets(stack: Settings) -> Iterator[Offsets]:
    made = Offsets(stack)
    yield made
    made.close()


@pytest.fixture
def sink(stack: Settings) -> Iterator[SinkProcess]:
    made = SinkProcess(stack)
    yield made
    made.close()


def contents(client: Client, topic: Topic) -> tuple[int, int]:
    """Rows and a hash of all columns."""
    ((rows, digest),) = client.execute(
        f"SELECT count(), groupBitXor(cityHash64(toString(tuple(*)))) FROM {topic.table} FINAL"
    )
    return int(rows), int(digest)


def everything(client: Client) -> dict[str, tuple[int, int]]:
    return {topic.table: contents(client, topic) for topic in TOPICS_KEPT}


def leftovers(client: Client) -> list[str]:
    found = client.execute(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE '%__new'"
    )
    return [name for (name,) in found]


def shorten(config: Settings, keep: float) -> None:
    """Removes the beginning of every partition, as retention does."""
    admin = AdminClient({"bootstrap.servers": config.kafka_bootstrap})
    consumer = sync.consumer_of(config, "shorten")
    try:
        places = [(t.name, n) for t in SHORTENED for n in range(t.partitions)]
        begins, ends = sync.begins_of(consumer, places), sync.ends_of(consumer, places)
        wanted = [
            TopicPartition(*place, end - int((end - begins[place]) * keep))
            for place, end in ends.items()
            if end
        ]
        for done in admin.delete_records(wanted).values():
            done.result(60)
        assert sync.begins_of(consumer, places) != begins
    finally:
        consumer.close()


def read_all(config: Settings, topic: Topic) -> list[tuple[int, int, AvroRecord]]:
    return [(r.partition, r.offset, r.record) for r in replay(config, topic)]


def test_tables_and_readers_keep_what_the_log_has_forgotten(
    stack: Settings, log: Log, sink: SinkProcess, offsets: Offsets, client: Client
) -> None:
    for topic in TOPICS_KEPT:
        log.good(topic, 60)
        log.raw(topic, b"poison")
    log.flush()
    sink.start()
    wait_for("the end of the log", offsets.caught_up)
    before = everything(client)
    replayed = {topic.name: read_all(stack, topic) for topic in REPLAYED}
    shorten(stack, keep=0.5)

    # A rebuild that is killed at any moment, again and again: the tables have every row all along.
    chance = random.Random(5)
    for lines in (1, 4, 11):
        command = [sys.executable, "-m", "cli.main", "rebuild", "history", "--yes"]
        with subprocess.Popen(command, cwd=root(), stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            for _ in range(lines):
                assert process.stderr.readline()
            try:
                process.wait(chance.random() * 0.3)
            except subprocess.TimeoutExpired:
                process.kill()
        assert everything(client) == before
    done = rebuild(stack)
    assert everything(client) == before
    assert leftovers(client) == []
    assert done.rows[TOPICS["audit"].table] == before[TOPICS["audit"].table][0]
    for topic in SHORTENED:
        assert 0 < done.kept[topic.table] < done.rows[topic.table], topic.name
    assert not compare(stack).differences

    # The reader does not show the seam.
    for topic in REPLAYED:
        again = list(replay(stack, topic))
        assert [(r.partition, r.offset, r.record) for r in again] == replayed[topic.name]
        assert any(r.archived for r in again) is not topic.compacted
        assert not all(r.archived for r in again)

    # The sink that ran through all of it goes on, and a second rebuild keeps the same.
    for topic in TOPICS_KEPT:
        log.good(topic, 5)
    log.flush()
    wait_for("the end of the log", offsets.caught_up)
    after = everything(client)
    assert not compare(stack).differences
    assert all(after[table][0] == rows + 5 for table, (rows, _) in before.items() if table not in
               (TOPICS["dead_letters"].table,))  # fmt: skip
    rebuild(stack)
    assert everything(client) == after
    assert sink.stop() == 0


def test_customers_are_folded_from_archive_and_log(
    stack: Settings, sink: SinkProcess, offsets: Offsets
) -> None:
    changes = [
        CustomerChange(
            event_id=root_id("older", n), kind="upserted", occurred_at=n + 1, producer="crm",
            customer_id=f"older-{n % 50}", source="crm", purchases=n,
        )
        for n in range(400)
    ]  # fmt: skip
    codec = codec_of(stack)
    with closing(sync.producer_of(stack, "older")) as producer:
        for change in changes:
            for name, record in copies("customers.changes", change):
                sync.produce(producer, codec, name, record)
        producer.flush()
    sink.start()
    wait_for("the end of the log", offsets.caught_up)
    assert sink.stop() == 0
    with closing(sync.consumer_of(stack, "ends")) as consumer:
        places = [(INBOX, n) for n in range(TOPICS[INBOX].partitions)]
        ends = {n: at for (_, n), at in sync.ends_of(consumer, places).items()}
    whole = Refold(stack, Numbers("CN", b"key"))
    whole.read(ends)
    assert {f"older-{n}" for n in range(50)} <= whole.customers.keys()
    shorten(stack, keep=0.3)
    # In two goes, as beside a service that works; the first may lie before the log's beginning.
    halves = {n: at // 2 for n, at in ends.items()}
    again = Refold(stack, Numbers("CN", b"key"))
    again.read(halves)
    again.read(ends, halves)
    assert again.customers == whole.customers


def test_rows_of_another_log_are_not_mixed_in(
    stack: Settings, log: Log, sink: SinkProcess, offsets: Offsets, client: Client
) -> None:
    topic = TOPICS["audit"]
    log.good(topic, 20)
    log.flush()
    sink.start()
    wait_for("the end of the log", offsets.caught_up)
    assert sink.stop() == 0
    shorten(stack, keep=0.5)
    whole = contents(client, topic)
    client.execute(
        f"INSERT INTO {topic.table} SELECT * REPLACE (toInt64(1000000000) AS _offset) "
        f"FROM {topic.table} ORDER BY _offset LIMIT 1"
    )
    with pytest.raises(AnotherLog, match=f"{topic.table}: it has offset 1000000000"):
        rebuild(stack)
    assert contents(client, topic)[0] == whole[0] + 1
    client.execute(f"DELETE FROM {topic.table} WHERE _offset = 1000000000")
    client.execute(
        f"INSERT INTO {topic.table} SELECT * REPLACE (generateUUIDv4() AS event_id) "
        f"FROM {topic.table} ORDER BY _offset DESC LIMIT 1"
    )
    with pytest.raises(AnotherLog, match="1 of its rows are other events"):
        rebuild(stack)
    done = rebuild(stack, forget_older=True)
    assert set(done.kept.values()) == {0}
    assert contents(client, topic)[0] < whole[0]
    assert not compare(stack).differences
    assert leftovers(client) == []
