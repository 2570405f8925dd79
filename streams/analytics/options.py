"""Flink's settings for the job, and the environment that its JVM starts in."""

import os
import sys
from pathlib import Path

from ringlog import jvm
from ringlog.jvm import pins
from ringlog.settings import Settings, root

STATE_TTL_H = 26
"""How long counts and event ids are kept after they were last used, h. A later turn no longer
corrects its window, nor spoils it, since its revision is low."""

CHECKPOINT_EVERY_S = 5
"""Time between checkpoints, s: the work repeated after a crash."""

_HEAP_MB = 384


class MissingPart(RuntimeError):
    """A JVM part is not on this machine; the text says how to get it."""


def folder(config: Settings) -> Path:
    """Where the job keeps its checkpoints and Flink its log."""
    return config.home.absolute() / "flink"


def prepare_process(config: Settings) -> None:
    """Sets what PyFlink takes from the environment; call before anything of Flink runs.

    Flink finds its Java by JAVA_HOME and its Python by PATH; the JVM that `python.execution-mode`
    thread puts Python into imports our packages by PYTHONPATH.
    """
    java_home = Path(jvm.JAVA).parent.parent
    logs, temporary = folder(config) / "log", folder(config) / "tmp"
    for path in (logs, temporary):
        path.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        JAVA_HOME=str(java_home),
        PATH=os.pathsep.join(
            [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        ),
        PYTHONPATH=os.pathsep.join([str(root()), *filter(None, [os.environ.get("PYTHONPATH")])]),
        FLINK_LOG_DIR=str(logs),
        FLINK_IDENT_STRING="ringlog",
        LOG4J_PROPERTIES=str(Path(__file__).with_name("log4j.properties")),
        JVM_ARGS=f"-Xms128m -Xmx{_HEAP_MB}m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "
        f"-Xshare:auto -XX:+ExitOnOutOfMemoryError -Djava.io.tmpdir={temporary}",
    )


def common() -> dict[str, str]:
    """Settings of the job wherever it runs."""
    return {
        "pipeline.jars": ";".join(_jar_urls()),
        "parallelism.default": "1",
        "table.local-time-zone": "UTC",
        "table.exec.state.ttl": f"{STATE_TTL_H} h",
        # One phase: whether a turn is late is then judged once, at one watermark.
        "table.optimizer.agg-phase-strategy": "ONE_PHASE",
        # In the JVM: as quick to start as a process of its own, and no bundles that wait.
        "python.execution-mode": "thread",
        "execution.checkpointing.interval": f"{CHECKPOINT_EVERY_S} s",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": "2",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
    }


def local(config: Settings, checkpoints: Path, restore: Path | None) -> dict[str, str]:
    """The mini cluster in this process's JVM, its REST interface on the settings' port."""
    out = {
        "execution.target": "local",
        "rest.bind-address": config.bind_host,
        "rest.bind-port": str(config.port(config.flink_ui_port)),
        "io.tmp.dirs": str(folder(config) / "tmp"),
        "taskmanager.memory.managed.size": "16 mb",
        "taskmanager.memory.network.min": "16 mb",
        "taskmanager.memory.network.max": "16 mb",
        "execution.checkpointing.dir": checkpoints.as_uri(),
        "pipeline.auto-watermark-interval": "200 ms",
    }
    if restore is not None:
        out["execution.state-recovery.path"] = restore.as_uri()
        out["execution.state-recovery.claim-mode"] = "CLAIM"
    return common() | out


def remote(
    host: str, port: int, python: str, code: Path, parallelism: int, checkpoints: str | None
) -> dict[str, str]:
    """A session cluster whose REST interface is at host:port.

    `code` is a zip of our packages, `python` the interpreter on the task managers, which needs the
    packages of requirements.lock. `checkpoints` is a URI that all of them reach; None leaves it to
    the cluster's own settings. Python runs in processes of its own there, as clusters expect it.
    """
    out = {
        "execution.target": "remote",
        "rest.address": host,
        "rest.port": str(port),
        "jobmanager.rpc.address": host,
        "parallelism.default": str(parallelism),
        "pipeline.jars": ";".join([*_jar_urls(), _flink_python_jar().as_uri()]),
        "python.execution-mode": "process",
        "python.fn-execution.bundle.time": "100",
        "python.executable": python,
        "python.client.executable": sys.executable,
        "python.files": str(code),
    }
    if checkpoints is not None:
        out["execution.checkpointing.dir"] = checkpoints
    return common() | out


def _flink_python_jar() -> Path:
    """Flink's part for Python, which a cluster does not have on its class path by itself."""
    import pyflink

    (jar,) = (Path(pyflink.__file__).parent / "opt").glob("flink-python-*.jar")
    return jar


def _jar_urls() -> list[str]:
    paths = [jvm.path_of(pin) for pin in pins("flink")]
    if absent := [path.name for path in paths if not path.is_file()]:
        raise MissingPart(f"{', '.join(absent)} is not in {jvm.cache_dir()}; run `make install`")
    return [path.as_uri() for path in paths]
