"""The sink under pressure: a full disk, poison in every second record, ClickHouse away for long."""

import contextlib
import itertools
import random
import shutil
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from clickhouse_driver import Client

from ringlog.settings import Settings
from schemas.catalogue import TOPICS, Topic
from schemas.ids import dead_letter_id
from schemas.partition import partition_of
from schemas.wire import HEADER
from streams.history.batch import MAX_BYTES, MAX_ROWS
from streams.history.compare import compare
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

pytestmark = [pytest.mark.stack, pytest.mark.heavy, pytest.mark.timeout(600)]


class SmallDisk:
    """ClickHouse on a file system of its own, where the system lets us mount one."""

    reasons = ("not enough space", "No space left on device")
    rounds = (0, 4, 9)

    def __init__(self, path: Path) -> None:
        path.mkdir()
        mount = 'mount -t tmpfs -o size=192m,nr_inodes=20k none "$0" && exec "$@"'
        within = ("unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(path))
        if subprocess.run([*within, "true"], check=False, capture_output=True).returncode != 0:
            pytest.skip("no file system can be mounted here")
        self.server = ServerProcess(path, within=within)
        self._ballast = Path(f"/proc/{self.server.process.pid}/root{path}/ballast")

    def fill(self, left: int) -> None:
        """Leaves room for so many files: for some of a block's, not for all. With 0 there is no
        room for a byte either, which ClickHouse sees before it writes."""
        self._ballast.mkdir()
        with contextlib.suppress(OSError):
            if left == 0:
                with (self._ballast / "bytes").open("wb", buffering=0) as file:
                    while True:
                        file.write(bytes(1 << 20))
            for n in itertools.count():
                (self._ballast / str(n)).touch()
        for n in range(left):
            (self._ballast / str(n)).unlink()

    def free(self) -> None:
        """Leaves room for everything."""
        shutil.rmtree(self._ballast)


def test_a_full_disk_is_waited_for_and_nothing_is_committed(
    stack: Settings,
    log: Log,
    offsets: Offsets,
    tmp_path: Path,
) -> None:
    disk = SmallDisk(tmp_path / "clickhouse")
    config = beside(stack, disk.server)
    sink = SinkProcess(config, environment_of(config))
    try:
        sink.start()
        wait_for("ready", lambda: sink.ready)
        with Traffic(log):
            for left in disk.rounds:
                disk.fill(left)
                wait_for("the reason", lambda: "clickhouse" in (sink.waits_for or ""))
                assert any(reason in (sink.waits_for or "") for reason in disk.reasons)
                before, there = offsets.done(), offsets.on_the_log()
                wait_for("more on the log", lambda n=there: offsets.on_the_log() > n + 300)  # type: ignore[misc]
                assert offsets.done() == before
                assert sink.alive and not sink.ready
                disk.free()
                wait_for("ready again", lambda: sink.ready)
                wait_for("commits", lambda n=before: offsets.done() > n)  # type: ignore[misc]
        wait_for("the end of the log", offsets.caught_up)
        assert_equal_to_the_log(config)
        with disk.server.client(database=config.clickhouse_database) as client:
            for topic in BUSY:
                rows = count(client, topic.table)
                assert rows > 0
                assert rows == count(client, topic.table, final=True)
        assert sink.stop() == 0
    finally:
        sink.close()
        disk.server.kill()


def call_of(topic: Topic, partition: int) -> str:
    """A call of a partition."""
    names = (f"pressed-{n}" for n in range(10_000))
    return next(c for c in names if partition_of(c, topic.partitions) == partition)


def test_poison_in_every_second_record_and_kills_amid_its_blocks(
    stack: Settings, log: Log, sink: SinkProcess, offsets: Offsets
) -> None:
    chance = random.Random(11)
    topics = [TOPICS["calls.events"], TOPICS["asr.transcripts"], TOPICS["audit"]]
    good, poison = [], []
    for _ in range(5):
        for topic in topics:
            partitions = range(min(4, topic.partitions))
            calls = {p: call_of(topic, p) for p in partitions}
            for n in range(60):
                for p in partitions:
                    whole = log.value(topic, call_id=calls[p], occurred_at=1_760_000_000_000)
                    good.append(log.later(topic, whole, p))
                    spoiled = (
                        whole[:-1],
                        whole + b"\x00",
                        HEADER.pack(0, 2**31 - 1) + whole[HEADER.size :],
                        log.value(topic, call_id=calls[p], event_id="z" * 36),
                        b"\x00",
                    )
                    poison.append(log.later(topic, spoiled[n % len(spoiled)], p))
        log.flush()
        sink.start()
        wait_for("a batch that is being written", offsets.writing)
        time.sleep(chance.random() * 0.4)  # anywhere in it
        sink.kill()
    sink.start()
    wait_for("the end of the log", offsets.caught_up)
    assert_equal_to_the_log(stack)

    host, port = stack.clickhouse_native
    with Client(host, port, stack.clickhouse_database) as client:
        written = set()
        for topic in topics:
            rows = client.execute(f"SELECT _partition, _offset FROM {topic.table} FINAL")
            assert len(rows) == len(set(rows))
            written |= {(topic.name, p, o) for p, o in rows}
        letters = client.execute(
            "SELECT source_topic, source_partition, source_offset, toString(event_id) "
            "FROM raw_dead_letters"
        )
    assert {(d.topic, d.partition, d.offset) for d in good} <= written
    bad = {(d.topic, d.partition, d.offset) for d in poison}
    assert not bad & written
    ids: dict[tuple[str, int, int], set[str]] = {}
    for *place, letter in letters:
        ids.setdefault((place[0], place[1], place[2]), set()).add(letter)
    assert {place: ids.get(place) for place in bad} == {p: {dead_letter_id(*p)} for p in bad}
    assert sink.stop() == 0


WAITING = 300_000
QUEUE_BYTES = 32_768 << 10  # queued.max.messages.kbytes
ROW_BYTES = 400  # what Python adds to a row
MOST_BYTES = (
    (
        QUEUE_BYTES
        + 2 * (MAX_BYTES + MAX_ROWS * ROW_BYTES)  # the buffer, and the batch that is written
        + 2 * MAX_BYTES  # the batch's container, while it is put together
    )
    * 5
    // 4
)  # the allocator's holes
"""How much the sink may grow, whatever waits on the log."""


def test_memory_is_bounded_while_clickhouse_is_away(
    stack: Settings, log: Log, offsets: Offsets, tmp_path: Path
) -> None:
    server = ServerProcess(tmp_path / "clickhouse")
    ports = ("--native-port", str(server.native), "--http-port", str(server.http))
    config = beside(stack, server)
    sink = SinkProcess(config, environment_of(config))
    topic = TOPICS["asr.transcripts"]
    values = [
        (
            log.value(
                topic,
                call_id=call_of(topic, p),
                occurred_at=1_760_000_000_000,
                text="😀" + "x" * 1_200,
            ),
            p,
        )
        for p in range(topic.partitions)
    ]
    assert WAITING * len(values[0][0]) + WAITING * ROW_BYTES > 1.5 * MOST_BYTES
    try:
        sink.start()
        wait_for("ready", lambda: sink.ready)
        process = psutil.Process(sink.pid)
        at_rest = process.memory_info().rss
        server.kill()
        for n in range(WAITING):
            value, partition = values[n % len(values)]
            log.later(topic, value, partition)
        log.flush()
        wait_for("the reason", lambda: "clickhouse" in (sink.waits_for or ""))
        seen = [process.memory_info().rss]

        def settled() -> bool:
            """Whether the sink reads no more: its memory has stayed for some seconds."""
            seen.append(process.memory_info().rss)
            return len(seen) > 100 and max(seen[-100:]) - min(seen[-100:]) < 1 << 20

        wait_for("a sink that reads no more", settled)
        assert seen[-1] > at_rest + MAX_ROWS * len(values[0][0])  # it had much to read
        server = ServerProcess(tmp_path / "clickhouse", *ports)

        def over() -> bool:
            seen.append(process.memory_info().rss)
            return offsets.caught_up()

        wait_for("the end of the log", over)
        print(f"\nat rest {at_rest >> 20} MiB, at most {(max(seen) - at_rest) >> 20} MiB more")
        assert max(seen) - at_rest < MOST_BYTES
        found = compare(config, [topic])
        assert found.rows >= WAITING and not found.differences
        assert sink.stop() == 0
    finally:
        sink.close()
        server.kill()
