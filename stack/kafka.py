"""The broker: Apache Kafka in KRaft mode, one JVM, listening on the loopback address only."""

import base64
import os
import subprocess
import uuid
from pathlib import Path

from ringlog import jvm
from ringlog.settings import Settings
from schemas.catalogue import CALL_PARTITIONS, KAFKA_MESSAGE_BYTES

_HEAP_MB = 512
_CHECK_EVERY_MS = 60_000
_OPEN_TRANSACTION_MS = 60_000
"""Longest that a producer's transaction may stay open: readers wait for its end, also those of the
do-not-call list. Kafka's clients ask for no more unless told to."""

_START_FAST = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
_LOG = "-Dorg.slf4j.simpleLogger"
_LOGGING = (
    f"{_LOG}.defaultLogLevel=warn",
    f"{_LOG}.log.kafka.server.KafkaRaftServer=info",
    f"{_LOG}.showThreadName=false",
    f"{_LOG}.showShortLogName=true",
    f"{_LOG}.logFile=System.out",
)


def home(settings: Settings) -> Path:
    """Folder of the broker's settings and data."""
    return settings.home.absolute() / "kafka"


def properties(settings: Settings) -> dict[str, str]:
    """Content of `server.properties`.

    One node is controller and broker, so every internal topic has one replica. Consumer groups may
    use session time-outs from 1 s, so that a dead member is noticed soon. The controller readmits a
    killed broker once its old session is over: by default after 9 s, longer than anything else in
    its start. The session must be longer than the machine may stall: a broker that wakes up without
    a session leads nothing, and all groups start over.
    """
    port = settings.port(settings.kafka_port)
    controller = settings.port(settings.kafka_controller_port)
    host = settings.bind_host
    advertised = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://{host}:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://{advertised}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(home(settings) / "data"),
        "auto.create.topics.enable": "false",
        "num.partitions": str(CALL_PARTITIONS),
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "broker.session.timeout.ms": "5000",
        "broker.heartbeat.interval.ms": "500",
        "group.min.session.timeout.ms": "1000",
        "group.initial.rebalance.delay.ms": "0",
        "log.retention.check.interval.ms": str(_CHECK_EVERY_MS),
        "log.cleaner.dedupe.buffer.size": "16777216",
        "log.segment.bytes": "134217728",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
        "num.recovery.threads.per.data.dir": "2",
        "message.max.bytes": str(KAFKA_MESSAGE_BYTES),
        "transaction.max.timeout.ms": str(_OPEN_TRANSACTION_MS),
    }


def render(values: dict[str, str]) -> str:
    """Java properties text; a backslash is the format's escape."""
    return "".join(
        f"{key}={value.replace(chr(92), chr(92) * 2)}\n" for key, value in values.items()
    )


def prepare(settings: Settings) -> None:
    """Write `server.properties`; format the storage the first time (about a second).

    Raises RuntimeError with the tool's output when the storage cannot be formatted.
    """
    folder = home(settings)
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "server.properties"
    config.write_text(render(properties(settings)))
    if (folder / "data" / "meta.properties").is_file():
        return
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    tool = [jvm.JAVA, "-Xmx128m", *_START_FAST, *_LOGGING, "-cp", jvm.classpath("kafka")]
    tool += ["kafka.tools.StorageTool", "format", "-t", cluster_id.replace("-", "_")]
    tool += ["-c", str(config)]
    done = subprocess.run(tool, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"Kafka's storage could not be formatted: {done.stdout}{done.stderr}")


def command(settings: Settings) -> list[str]:
    """Command line of the broker."""
    options = ["-Xms128m", f"-Xmx{_HEAP_MB}m", *_START_FAST, "-XX:+ExitOnOutOfMemoryError"]
    config = home(settings) / "server.properties"
    return [
        jvm.JAVA, *options, *_LOGGING, f"-Djava.io.tmpdir={_tmp(settings)}",
        "-cp", jvm.classpath("kafka"), "kafka.Kafka", str(config),
    ]  # fmt: skip


def _tmp(settings: Settings) -> str:
    """Compression libraries unpack themselves here: inside the home, not in a shared folder."""
    folder = home(settings) / "tmp"
    os.makedirs(folder, exist_ok=True)
    return str(folder)
