"""The sink against the real log: kills, poison on every topic, tombstones, outages, rebuild."""

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clickhouse_driver import Client

from ringlog.kafka.codec import codec_of
from ringlog.kafka.sync import read
from ringlog.settings import Settings
from schemas.catalogue import TOPICS, Topic
from schemas.wire import HEADER, Poison
from streams.history.columns import TOPICS_KEPT
from streams.history.rebuild import rebuild
from tests.integration.history.support import (
    BUSY,
    Log,
    Offsets,
    SinkProcess,
    Traffic,
    assert_equal_to_the_log,
    beside,
    count,
    environment_of,
    wait_for,
)
from tests.integration.sql_server.support import ServerProcess

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


@pytest.fixture
def client(stack: Settings) -> Iterator[Client]:
    host, port = stack.clickhouse_native
    made = Client(host, port, stack.clickhouse_database)
    yield made
    made.disconnect()


def test_kills_amid_batches_lose_and_double_nothing(
    stack: Settings, log: Log, sink: SinkProcess, offsets: Offsets, client: Client
) -> None:
    rng = random.Random(7)
    for topic in TOPICS_KEPT:
        log.good(topic, 30)
    table = BUSY[0].table
    with Traffic(log):
        for _ in range(6):
            sink.start()
            before = count(client, table)
            wait_for("rows", lambda seen=before: count(client, table) > seen)  # type: ignore[misc]
            time.sleep(rng.random() * 0.7)  # anywhere between two batches
            sink.kill()
    sink.start()
    wait_for("the end of the log", offsets.caught_up)
    assert_equal_to_the_log(stack)
    for topic in BUSY:
        assert count(client, topic.table) == count(client, topic.table, final=True)
    assert sink.stop() == 0


def poison_of(log: Log, topic: Topic) -> dict[str, bytes]:
    """Bytes by what their reason says."""
    good = log.value(topic)
    poison = {
        "shorter than": b"\x00\x00",
        "first byte is 71": b"GET / HTTP/1.1",
        "not in the registry": HEADER.pack(0, 2**31 - 1) + good[HEADER.size :],
        "not of": log.value(TOPICS["media.audio"]),
        "Avro": good[: HEADER.size + 12],
        "bytes after": good + b"\x00\x00",
        "not a UUID": log.value(topic, event_id="z" * 36),
        "not a time": log.value(topic, occurred_at=-1),
    }
    if topic.call_keyed:
        poison["belongs to partition"] = log.value(topic, kind="x", call_id="call-on-the-wrong-one")
    return poison


def test_poison_on_every_topic_is_buried_with_its_reason(
    stack: Settings, log: Log, sink: SinkProcess, offsets: Offsets, client: Client
) -> None:
    sink.start()
    wait_for("ready", lambda: sink.ready)
    buried: dict[tuple[str, int, int], tuple[str, bytes]] = {}
    for topic in TOPICS_KEPT:
        log.good(topic, 5)
        for reason, value in poison_of(log, topic).items():
            buried[(topic.name, *log.raw(topic, value))] = reason, value
            log.good(topic, 1)
        if not topic.compacted:
            buried[(topic.name, *log.raw(topic, None))] = "no value", b""
    log.flush()
    wait_for("the end of the log", offsets.caught_up)
    assert sink.ready
    assert_equal_to_the_log(stack)
    letters = {
        (topic, partition, offset): (reason, raw)
        for topic, partition, offset, reason, raw in client.execute(
            "SELECT source_topic, source_partition, source_offset, reason, raw "
            "FROM raw_dead_letters",
            settings={"strings_as_bytes": True},
        )
    }
    letters = {(t.decode(), p, o): (why.decode(), raw) for (t, p, o), (why, raw) in letters.items()}
    for place, (reason, value) in buried.items():
        assert place in letters, (place, reason)
        assert reason in letters[place][0]
        assert letters[place][1] == value
    good_places = {
        (t.name, p, o)
        for t in TOPICS_KEPT
        for p, o in client.execute(f"SELECT _partition, _offset FROM {t.table}")
    }
    assert not good_places & buried.keys()


def test_tombstones_are_skipped(
    stack: Settings, log: Log, sink: SinkProcess, offsets: Offsets, client: Client
) -> None:
    topic = TOPICS["customers.profiles"]
    place = log.raw(topic, None)
    last = log.raw(topic, None)
    sink.start()
    wait_for("the end of the log", offsets.caught_up)
    for partition, offset in (place, last):
        ((found,),) = client.execute(
            "SELECT count() FROM raw_dead_letters WHERE source_topic = %(t)s "
            "AND source_partition = %(p)s AND source_offset = %(o)s",
            {"t": topic.name, "p": partition, "o": offset},
        )
        assert found == 0
    assert_equal_to_the_log(stack)


def test_every_final_is_in_transcripts_once(
    stack: Settings, log: Log, sink: SinkProcess, offsets: Offsets, client: Client
) -> None:
    topic = TOPICS["asr.transcripts"]
    for text in ("", "我要退订", "好的"):
        for data in log.good(topic, 20, kind="final", text=text):
            log.put(topic, data)  # the same event again
            log.put(topic, {**data, "text": "another text under the same id"})
    log.good(topic, 20, kind="partial")
    log.flush()
    sink.start()
    wait_for("the end of the log", offsets.caught_up)

    codec = codec_of(stack)
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for r in read(stack, topic.name):
        try:
            data = codec.decode_record(topic.name, r.value)
        except Poison:
            continue
        first.setdefault((data["call_id"], data["event_id"]), data)
    finals = {k: d["text"] for k, d in first.items() if d["kind"] == "final"}
    rows = client.execute("SELECT call_id, toString(event_id), text FROM transcripts")
    there = {(call, event): text for call, event, text in rows}
    assert len(rows) == len(there)
    assert "" in there.values()
    assert {k: v for k, v in finals.items() if k in there} == there
    # What the sink refuses has no row: times out of range or a wrong partition, by other tests.
    missing = finals.keys() - there.keys()
    assert not [k for k in missing if first[k]["occurred_at"] == 1_760_000_000_000]


def test_rebuild_makes_the_same_tables(
    stack: Settings, log: Log, sink: SinkProcess, offsets: Offsets, client: Client
) -> None:
    for topic in TOPICS_KEPT:
        log.good(topic, 25)
    log.raw(TOPICS["calls.events"], b"poison")
    log.flush()
    sink.start()
    wait_for("the end of the log", offsets.caught_up)
    before = {t.table: contents(client, t) for t in TOPICS_KEPT}
    for topic in TOPICS_KEPT:
        client.execute(f"DROP TABLE {topic.table} SYNC")
    lines: list[str] = []
    done = rebuild(stack, lines.append)
    assert lines and done.poison > 0
    assert {t.table: contents(client, t) for t in TOPICS_KEPT} == before
    assert_equal_to_the_log(stack)
    # The sink that ran through it goes on.
    log.good(TOPICS["audit"], 3)
    log.flush()
    wait_for("the end of the log", offsets.caught_up)
    assert_equal_to_the_log(stack)


def contents(client: Client, topic: Topic) -> tuple[int, int]:
    """Rows and a hash of all columns. (Nothing is compacted within a test's time.)"""
    ((rows, digest),) = client.execute(
        f"SELECT count(), groupBitXor(cityHash64(toString(tuple(*)))) FROM {topic.table} FINAL"
    )
    return int(rows), int(digest)


def test_a_clickhouse_that_dies_amid_inserts_is_waited_for(
    stack: Settings, log: Log, offsets: Offsets, tmp_path: Path
) -> None:
    server = ServerProcess(tmp_path / "clickhouse")
    ports = ("--native-port", str(server.native), "--http-port", str(server.http))
    config = beside(stack, server)
    sink = SinkProcess(config, environment_of(config))
    try:
        sink.start()
        wait_for("ready", lambda: sink.ready)
        with Traffic(log):
            for _ in range(3):
                server.kill()
                wait_for("the sink's word that it waits", lambda: not sink.ready)
                assert sink.alive
                server = ServerProcess(tmp_path / "clickhouse", *ports)
                wait_for("ready again", lambda: sink.ready)
        wait_for("the end of the log", offsets.caught_up)
        assert_equal_to_the_log(config)
        assert sink.stop() == 0
    finally:
        sink.close()
        server.kill()


@pytest.mark.heavy
def test_a_broker_that_dies_is_waited_for(
    stack: Settings, log: Log, sink: SinkProcess, offsets: Offsets
) -> None:
    sink.start()
    wait_for("ready", lambda: sink.ready)
    for topic in BUSY:
        log.good(topic, 100)
    log.flush()
    os.kill(json.loads(stack.pids_file.read_text())["kafka"], signal.SIGKILL)
    for topic in BUSY:
        log.good(topic, 100)
    log.flush()
    fresh = Offsets(stack)
    wait_for("the end of the log", fresh.caught_up)
    fresh.close()
    assert_equal_to_the_log(stack)
    wait_for("ready again", lambda: sink.ready)
    assert sink.stop() == 0
