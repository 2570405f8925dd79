"""Debezium's engine in this process: Java by JPype, batches handed to Python.

Debezium documentation, "Debezium Engine": a batch's records are marked only after their publication
was confirmed, so that a crash repeats them and loses none.
"""

import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import jpype
import jpype.config

from ringlog import jvm, log
from ringlog.crm.addresses import MYSQL_PART, SIGNALS, database_url, is_mysql
from ringlog.crm.translate import MAX_TEXT
from ringlog.settings import Settings
from streams.crm.offsets import Offsets

NAME = "ringlog_crm"
"""Of slot and publication in PostgreSQL."""

_SERVER_ID = "7300517"
"""Ours among the replicas of a MySQL; the site's own properties can say another."""

HEARTBEATS = "__debezium-heartbeat"
_START_FAST = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
_LOG = "-Dorg.slf4j.simpleLogger"
_LOGGING = (f"{_LOG}.defaultLogLevel=warn", f"{_LOG}.logFile=System.out")


_log = log.logger("streams.crm.capture")


@dataclass(frozen=True, slots=True)
class Captured:
    """One record: where it belongs (`prefix.schema.table`), its key and envelope as JSON."""

    destination: str
    key: str
    value: str


Handle = Callable[[list[Captured]], None]
"""Returns once the records are safe; raises to end the engine without marking them."""


def properties(config: Settings, lists: dict[str, str]) -> dict[str, str]:
    """The engine's settings with `lists` of tables and columns; the site's own file comes last.
    Raises OSError, SiteKeyError.

    Retries are short: by default a database that was restarted is missed for 17 s. The heartbeat
    moves the place on while only other tables change; it must not be 0, or the engine spins. A text
    is cut where the bridge says anyhow that it is too long.
    """
    url = urlsplit(database_url(config))
    state = config.home.absolute() / "crm"
    state.mkdir(parents=True, exist_ok=True)
    return {
        "name": NAME,
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.storage.file.filename": str(state / "offsets"),
        "offset.flush.interval.ms": "0",
        "database.hostname": url.hostname or "127.0.0.1",
        "database.user": unquote(url.username or ""),
        "database.password": unquote(url.password or ""),
        "topic.prefix": "crm",
        **lists,
        f"column.truncate.to.{MAX_TEXT + 1}.chars": ".*",
        "snapshot.mode": "when_needed",
        "decimal.handling.mode": "string",
        "tombstones.on.delete": "false",
        "poll.interval.ms": "50",
        "heartbeat.interval.ms": "10000",
        "key.converter.schemas.enable": "false",
        "value.converter.schemas.enable": "false",
        "signal.enabled.channels": "file",
        "signal.file": str(state / SIGNALS),
        "signal.poll.interval.ms": "1000",
        "retriable.restart.connector.wait.ms": "500",
        "errors.retry.delay.initial.ms": "200",
        "errors.retry.delay.max.ms": "1000",
        "errors.max.retries": "-1",
        **(_mysql(url, state) if is_mysql(config) else _postgres(url)),
    } | site_properties(config)  # fmt: skip


def more_jars(config: Settings) -> list[Path]:
    """What the engine needs beside Debezium's own jars and PostgreSQL's."""
    own = sorted(config.crm_capture_jars.glob("*.jar")) if config.crm_capture_jars else []
    return own + ([jvm.path_of(pin) for pin in jvm.pins(MYSQL_PART)] if is_mysql(config) else [])


def _postgres(url: SplitResult) -> dict[str, str]:
    sslmode = parse_qs(url.query).get("sslmode")
    return {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "database.port": str(url.port or 5432),
        "database.dbname": url.path.strip("/"),
        "plugin.name": "pgoutput",
        "slot.name": NAME,
        "publication.name": NAME,
        "publication.autocreate.mode": "filtered",
        "read.only": "true",  # nothing is written there, also not the marks of a snapshot
        **({"database.sslmode": sslmode[0]} if sslmode else {}),
    }  # fmt: skip


def _mysql(url: SplitResult, state: Path) -> dict[str, str]:
    return {
        "connector.class": "io.debezium.connector.mysql.MySqlConnector",
        "database.port": str(url.port or 3306),
        "database.include.list": re.escape(url.path.strip("/")),
        "database.server.id": _SERVER_ID,
        "include.schema.changes": "false",
        "schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
        "schema.history.internal.file.filename": str(state / "schema-history"),
        "schema.history.internal.store.only.captured.tables.ddl": "true",
    }


def site_properties(config: Settings) -> dict[str, str]:
    """The site's own: `name=value` lines; `#` begins a comment. Raises OSError."""
    path = config.crm_capture_properties
    if path is None:
        return {}
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def start_java(config: Settings) -> None:
    """Starts Java in this process, once; before CaptureEngine."""
    # The end of the process waits for none of Debezium's idle threads: after `close` all is
    # safe.
    jpype.config.destroy_jvm = False
    java_home = Path(jvm.JAVA).parent.parent
    jpype.startJVM(
        str(java_home / "lib" / "server" / "libjvm.so"),
        "-Xmx160m",
        "-Xrs",  # signals are ours, not Java's
        *_START_FAST, *_LOGGING,
        classpath=[*jvm.classpath("debezium").split(os.pathsep), *map(str, more_jars(config))],
        convertStrings=True,
    )  # fmt: skip


class CaptureEngine:
    """One run of the engine; a process can have one. Java runs."""

    def __init__(
        self, settings: dict[str, str], handle: Handle, runs: Callable[[bool], object]
    ) -> None:
        self.failure: str | None = None
        offsets = Offsets(Path(settings["offset.storage.file.filename"]), _is_whole)
        if offsets.mend():
            _log.warning("the file of offsets was not whole: its copy is used")
        java_properties = jpype.JClass("java.util.Properties")()
        for name, value in settings.items():
            java_properties.setProperty(name, value)
        api = jpype.JPackage("io").debezium.engine
        proxy: Any = jpype.JProxy
        engine_type = api.DebeziumEngine
        self._engine = (
            engine_type.create(api.format.Json)
            .using(java_properties)
            .notifying(proxy(engine_type.ChangeConsumer, inst=_Consumer(handle, offsets)))
            .using(proxy(engine_type.CompletionCallback, inst=_Completion(self)))
            .using(proxy(engine_type.ConnectorCallback, inst=_Connector(runs)))
            .build()
        )

    def run(self) -> None:
        """Until closed, or failed: `failure` then says why. Blocks."""
        self._engine.run()

    def close(self) -> None:
        """Ends `run`, from another thread."""
        jpype.JClass("java.lang.Thread").attach()
        try:
            self._engine.close()
        except jpype.JException:
            pass  # it has ended by itself


class _Consumer:
    """Java's ChangeConsumer."""

    def __init__(self, handle: Handle, offsets: Offsets) -> None:
        self._handle = handle
        self._offsets = offsets

    def handleBatch(self, records: Any, committer: Any) -> None:  # noqa: N802 # Java's name
        found = list(records)
        self._handle(
            [
                Captured(str(r.destination()), _text(r.key()), _text(r.value()))
                for r in found
                if not str(r.destination()).startswith(HEARTBEATS)
            ]
        )
        for record in found:
            committer.markProcessed(record)
        committer.markBatchFinished()
        self._offsets.keep()

    def supportsTombstoneEvents(self) -> bool:  # noqa: N802 # Java's name
        return True


class _Completion:
    """Java's CompletionCallback."""

    def __init__(self, engine: CaptureEngine) -> None:
        self._engine = engine

    def handle(self, success: bool, message: Any, error: Any) -> None:
        if not success:
            # The message may quote settings; the class of the error does not.
            self._engine.failure = "" if error is None else str(error.getClass().getName())


class _Connector:
    """Java's ConnectorCallback."""

    def __init__(self, runs: Callable[[bool], object]) -> None:
        self._runs = runs

    def taskStarted(self) -> None:  # noqa: N802 # Java's name
        self._runs(True)

    def connectorStarted(self) -> None:  # noqa: N802 # Java's name
        pass

    def connectorStopped(self) -> None:  # noqa: N802 # Java's name
        pass

    def taskStopped(self) -> None:  # noqa: N802 # Java's name
        self._runs(False)

    def pollingStarted(self) -> None:  # noqa: N802 # Java's name
        pass

    def pollingStopped(self) -> None:  # noqa: N802 # Java's name
        pass


def _is_whole(file: Path) -> bool:
    """Whether Java reads the map that its store of offsets wrote."""
    java_io = jpype.JPackage("java").io
    stream = java_io.FileInputStream(str(file))
    try:
        java_io.ObjectInputStream(stream).readObject()
    except jpype.JException:
        return False
    finally:
        stream.close()
    return True


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def run_in_thread(engine: CaptureEngine, ended: Callable[[], object]) -> threading.Thread:
    """Runs the engine; `ended` is called in its thread when it is over."""

    def work() -> None:
        try:
            engine.run()
        finally:
            ended()

    thread = threading.Thread(target=work, name="debezium", daemon=True)
    thread.start()
    return thread
