"""The job: intents per campaign in windows of event time, in Flink SQL (`sql/flink`).

How it stays exact, and why:

- **Poison**: records are read as bytes and decoded by a guarded Python function, since Flink's own
  Avro format ends the job at the first bad record. What it cannot read goes to `dead_letters`.
- **First record per event id**: `ROW_NUMBER() = 1` in the order of arrival, which within one
  partition, and so within one id, is the order of offsets.
- **Event time** is `occurred_at`; the watermarks are made per partition in the Kafka source. They
  follow the records' Kafka timestamps, because a watermark on a decoded field would have to come
  after the decoder, where partitions are merged already: a backlog of one would make all others
  late. SQL can give a table either of the two times, so the table goes through a stream once.
- **Late turns**: every turn carries the running count of its window (`COUNT ... OVER`). A window is
  written once when the watermark passes its end, with the highest count, and from then on again at
  every late turn. Both views compare with the watermark that passes through the same operator.
  The window is the older `GROUP BY TUMBLE(...)`: the table function `TUMBLE` keeps its watermark in
  the checkpoint and after a restart drops turns as late that the other view does not yet see as
  late, so that a correction would be lost. (`table.exec.emit.late-fire` would correct windows too,
  but gives updates, which a topic of plain records cannot take.)
- **Revisions** are derived from the count. A counter in Flink's state would start again with a lost
  checkpoint and give old ids to new counts; this way restarts, repeats and a recount from the
  beginning of the log give the same ids, and the highest revision holds the full count.
- **Outputs** are encoded by a Python function with our registered schema and written as `raw`
  bytes, so the registry gets no schema from Flink. Delivery is at least once; a repeat has the same
  id, and readers drop it.
"""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import Schema, StreamTableEnvironment

from ringlog.settings import Settings
from streams.analytics import functions
from streams.analytics.statements import Statements

NAME = "ringlog-intent-windows"


def build(
    config: Settings, sql: Statements, flink_options: Mapping[str, str]
) -> StreamTableEnvironment:
    """A table environment in which everything but the inserts is defined. Starts the JVM, which
    takes several seconds."""
    flink = Configuration()
    for name, value in {"pipeline.name": NAME, **flink_options}.items():
        flink.set_string(name, value)
    tables = StreamTableEnvironment.create(_environment(flink))
    for name, value in flink_options.items():
        if name.startswith("table."):  # some are read from here alone
            tables.get_config().set(name, value)
    functions.register(
        tables, functions.RegistryAddress(config.registry_url, config.registry_timeout_s)
    )
    for statement in sql.records:
        tables.execute_sql(statement)
    _define_event_stream(tables)
    for statement in sql.turns:
        tables.execute_sql(statement)
    return tables


def start(tables: StreamTableEnvironment, sql: Statements) -> Any:
    """Submits the inserts as one job; returns Flink's JobClient."""
    together = tables.create_statement_set()
    for insert in sql.inserts:
        together.add_insert_sql(insert)
    return together.execute().get_job_client()


def fingerprint(sql: Statements) -> str:
    """Changes with the SQL and with Flink: a checkpoint of another job must not be restored."""
    text = "\n".join([version("apache-flink"), *sql.records, *sql.turns, *sql.inserts])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _environment(flink: Configuration) -> StreamExecutionEnvironment:
    """The environment of `execution.target`. PyFlink's own way takes any target for a local one."""
    if flink.get_string("execution.target", "local") == "local":
        return StreamExecutionEnvironment.get_execution_environment(flink)
    gateway = get_gateway()
    jars = flink.get_string("pipeline.jars", "").replace("file://", "").split(";")
    array = gateway.new_array(gateway.jvm.String, len(jars))
    for n, jar in enumerate(jars):
        array[n] = jar
    java = gateway.jvm.org.apache.flink.streaming.api.environment
    return StreamExecutionEnvironment(
        java.StreamExecutionEnvironment.createRemoteEnvironment(
            flink.get_string("rest.address", ""),
            flink.get_integer("rest.port", 0),
            flink._j_configuration,
            array,
        )
    )


def _define_event_stream(tables: StreamTableEnvironment) -> None:
    """The table `event_stream`: `flat_records` with event time and its watermarks."""
    schema = (
        Schema.new_builder()
        .column_by_expression("rowtime", "TO_TIMESTAMP_LTZ(occurred_ms, 3)")
        .column_by_expression("arrived", "PROCTIME()")
        .watermark("rowtime", "SOURCE_WATERMARK()")
        .build()
    )
    stream = tables.to_data_stream(tables.from_path("flat_records"))
    tables.create_temporary_view("event_stream", tables.from_data_stream(stream, schema))
