"""From Avro on Kafka to rows in ClickHouse: the history sink against ClickHouse's Kafka engine.

The same topic on the same broker, read from its beginning by one process at a time: a client that
only decodes; ClickHouse's own Kafka engine into the same table; the sink as the stack runs it.
"""

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import confluent_kafka
import fastavro
import psutil

from bench import kafka_engine, timing, transcripts
from bench.kafka_engine import Sample, Task
from bench.measure import Measure, Outcome
from bench.own_stack import own_stack
from ringlog.jvm import cache_dir
from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings, root
from schemas.catalogue import topic
from schemas.partition import partition_of
from schemas.wire import HEADER, schema_text
from stack import control, environment
from streams.history.clickhouse import ClickHouse
from streams.history.columns import columns_of

TOPIC = topic("asr.transcripts")
BUDGET = 1.0
_STALLED_S = 60.0


def fill(config: Settings, count: int) -> float:
    """Produces transcripts; returns their mean length, bytes."""
    codec, size = codec_of(config), 0
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": config.kafka_bootstrap, "linger.ms": 20, "acks": "all"}
    )
    for record in transcripts.records(count):
        value = codec.encode(TOPIC.name, record)
        size += len(value)
        key = record["call_id"]
        partition = partition_of(key, TOPIC.partitions)
        while True:
            try:
                producer.produce(TOPIC.name, value, key.encode(), partition)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    if producer.flush(120):
        raise RuntimeError("the broker did not take the rows")
    return size / count


def decode_only(config: Settings, total: int) -> tuple[float, float]:
    """(rows/s, CPU us a row) of confluent-kafka's poll and fastavro, nothing inserted."""
    schema = fastavro.parse_schema(json.loads(schema_text(TOPIC)), named_schemas={}, _force=True)
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": config.kafka_bootstrap, "group.id": "bench-decode",
         "enable.auto.commit": False}
    )  # fmt: skip
    consumer.assign(
        [confluent_kafka.TopicPartition(TOPIC.name, p, 0) for p in range(TOPIC.partitions)]
    )
    samples: list[Sample] = []
    rows, moved_s = 0, time.monotonic()
    while rows < total:
        messages = consumer.consume(5_000, 0.2)
        for message in messages:
            body = io.BytesIO((message.value() or b"")[HEADER.size :])
            fastavro.schemaless_reader(body, schema, schema)
        rows += len(messages)
        now_s = time.monotonic()
        moved_s = now_s if messages else moved_s
        if now_s - moved_s > _STALLED_S:
            raise RuntimeError(f"{rows} of {total} rows, and no more come")
        samples.append(Sample(now_s, rows, time.process_time()))
    consumer.close()
    return judged(samples, total)


def judged(samples: list[Sample], total: int) -> tuple[float, float]:
    """(rows/s, CPU us a row) from the first rows to 90 % of all; raises ValueError."""
    rate = timing.rate_between([(s.at_s, s.rows) for s in samples], total)
    cpu = timing.rate_between([(s.cpu_s, s.rows) for s in samples], total)
    return rate, 1e6 / cpu


@contextmanager
def sink_process(config: Settings) -> Iterator[psutil.Process]:
    """The sink, for this one topic."""
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.history", "--topics", TOPIC.name],
        cwd=root(), env=environment.of_services(config), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def sunk(config: Settings, total: int) -> list[Sample]:
    """Lets the sink read the whole topic. CPU time is the sink's and ClickHouse's."""
    clickhouse = ClickHouse(config)
    server = next(s.pid for s in control.status(config) if s.service == "clickhouse")
    samples: list[Sample] = []
    with sink_process(config) as sink:
        processes = [sink, psutil.Process(server)]
        moved_s = time.monotonic()
        while not samples or samples[-1].rows < total:
            rows = int(clickhouse.query(f"SELECT count() FROM {TOPIC.table}")[0][0])
            now_s = time.monotonic()
            if samples and rows > samples[-1].rows:
                moved_s = now_s
            if now_s - moved_s > _STALLED_S:
                raise RuntimeError(f"{rows} of {total} rows, and no more come")
            times = [process.cpu_times() for process in processes]
            samples.append(Sample(now_s, rows, sum(t.user + t.system for t in times)))
            time.sleep(0.05)
    return samples


def task_of(config: Settings, total: int) -> Task:
    """What the Kafka engine is to do: the very table that the sink writes to."""
    shown = ClickHouse(config).query(f"SHOW CREATE TABLE {TOPIC.table}")
    ddl = "\n".join("\t".join(row) for row in shown)
    return Task(
        folder=str(config.home.absolute() / "kafka-engine"),
        brokers=config.kafka_bootstrap,
        registry=config.registry_url,
        topic=TOPIC.name,
        table=TOPIC.table,
        target=ddl.replace(f"{config.clickhouse_database}.", "", 1),
        columns=[(column.name, column.type) for column in columns_of(TOPIC)],
        total=total,
    )


def run(quick: bool) -> Outcome:
    """Rows per second, and CPU time per row."""
    total = 90_000 if quick else 600_000
    notes = []
    folder = kafka_engine.package(cache_dir().parent / "bench", install=not quick)
    with own_stack({"contract", "migrate"}) as config:
        size = fill(config, total)
        decode_rate, decode_us = decode_only(config, total)
        engine = None
        if folder is None:
            notes.append(f"no Kafka engine to compare with: chdb=={kafka_engine.CHDB} is missing")
        else:
            engine = judged(kafka_engine.run(task_of(config, total), folder, root()), total)
        rate, us = judged(sunk(config, total), total)
    what, unit = "rows from Kafka to ClickHouse", "rows/s"
    measures = [
        Measure(
            what=what, unit=unit, ours=rate, against="poll and decode only, nothing inserted",
            theirs=decode_rate,
        )
    ]  # fmt: skip
    if engine is not None:
        against = f"ClickHouse's Kafka engine (chDB {kafka_engine.CHDB})"
        measures += [
            Measure(what=what, unit=unit, ours=rate, against=against, theirs=engine[0],
                    budget=BUDGET),
            Measure(what="the same, CPU time of sink and ClickHouse", unit="us/row", ours=us,
                    against=against, theirs=engine[1]),
        ]  # fmt: skip
    notes.append(
        f"{total:,} transcripts of {size:.0f} bytes in {TOPIC.partitions} partitions; from the "
        f"first rows to 90 %; decoding alone takes {decode_us:.1f} us of CPU a row"
    )
    return Outcome(measures=measures, notes=notes)
