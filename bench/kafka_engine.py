"""ClickHouse's Kafka engine as a process: `python -m bench.kafka_engine`, its task on stdin.

Runs on a chDB of its own version (`CHDB`), because the engine of newer ones cannot create such a
table. Imports nothing of the product.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CHDB = "4.0.2"
BLOCK_ROWS = 50_000
_INSTALL_S = 900
_STALLED_S = 60.0


@dataclass(frozen=True)
class Task:
    """What to read and where to put it. `target` is the CREATE TABLE of the table of that name."""

    folder: str
    brokers: str
    registry: str
    topic: str
    table: str
    target: str
    columns: list[tuple[str, str]]
    total: int


@dataclass(frozen=True)
class Sample:
    """Rows in the table and CPU time spent, at a time, s."""

    at_s: float
    rows: int
    cpu_s: float


def statements(task: Task) -> list[str]:
    """The table, the Kafka table, and the view that moves rows from one to the other."""
    names = ", ".join(f"`{name}`" for name, _ in task.columns)
    columns = ", ".join(f"`{name}` {kind}" for name, kind in task.columns)
    return [
        task.target,
        f"CREATE TABLE queue ({columns}) ENGINE = Kafka SETTINGS "
        f"kafka_broker_list = '{task.brokers}', kafka_topic_list = '{task.topic}', "
        "kafka_group_name = 'bench-kafka-engine', kafka_format = 'AvroConfluent', "
        f"format_avro_schema_registry_url = '{task.registry}', kafka_num_consumers = 1, "
        f"kafka_max_block_size = {BLOCK_ROWS}",
        f"CREATE MATERIALIZED VIEW mover TO {task.table} AS "
        f"SELECT {names}, _partition, _offset FROM queue",
    ]


def package(cache: Path, install: bool) -> Path | None:
    """Folder of that chDB, installed with pip where it is missing; None when that fails."""
    folder = cache / f"chdb-{CHDB}"
    if (folder / "chdb" / "__init__.py").is_file():
        return folder
    if not install:
        return None
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run(
            [*pip, "--no-deps", "--target", str(folder), f"chdb=={CHDB}"],
            check=True, timeout=_INSTALL_S, capture_output=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return folder


def run(task: Task, folder: Path, cwd: Path) -> list[Sample]:
    """Lets the engine read the whole topic; raises RuntimeError when it does not."""
    path = os.pathsep.join([str(folder), str(cwd)])
    done = subprocess.run(
        [sys.executable, "-m", "bench.kafka_engine"], input=json.dumps(asdict(task)), text=True,
        capture_output=True, cwd=cwd, env={**os.environ, "PYTHONPATH": path}, check=False,
    )  # fmt: skip
    if done.returncode or not done.stdout:
        raise RuntimeError(f"the Kafka engine: {done.stderr[-500:]}")
    return [Sample(*sample) for sample in json.loads(done.stdout)]


def consume(execute: Any, task: Task) -> Sequence[Sample]:
    """Sets the engine going and watches the table until all rows are there, or none come."""
    for statement in statements(task):
        execute(statement)
    samples: list[Sample] = []
    moved_s = time.monotonic()
    while True:
        rows = int(execute(f"SELECT count() FROM {task.table}"))
        now_s = time.monotonic()
        if not samples or rows > samples[-1].rows:
            moved_s = now_s
        samples.append(Sample(now_s, rows, time.process_time()))
        if rows >= task.total:
            return samples
        if now_s - moved_s > _STALLED_S:
            raise RuntimeError(f"{rows} of {task.total} rows, and no more come")
        time.sleep(0.05)


def main() -> None:
    """Entry of the process."""
    engine: Any = importlib.import_module("chdb.session")
    given = json.load(sys.stdin)
    task = Task(**{**given, "columns": [tuple(column) for column in given["columns"]]})
    session = engine.Session(task.folder)

    def execute(sql: str) -> str:
        return str(session.query(sql, "TabSeparated"))

    samples = consume(execute, task)
    print(json.dumps([[s.at_s, s.rows, s.cpu_s] for s in samples]), flush=True)
    os._exit(0)  # its background reader has nothing to finish


if __name__ == "__main__":
    main()
