"""`ringlog analytics submit` on a session cluster: a job manager and a task manager."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyflink
import pytest
import urllib3

from cli.errors import NOT_RUNNING
from ringlog import jvm
from ringlog.settings import Settings
from stack import environment
from tests.integration.analytics.scene import Scene, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.heavy, pytest.mark.timeout(600)]

FLINK = Path(pyflink.__file__).parent
ENTRY = "org.apache.flink.runtime"
JOB_MANAGER = f"{ENTRY}.entrypoint.StandaloneSessionClusterEntrypoint"
TASK_MANAGER = f"{ENTRY}.taskexecutor.TaskManagerRunner"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cluster_settings(folder: Path, rest_port: int) -> str:
    """`config.yaml` of a cluster with one slot, on the loopback address."""
    memory = "taskmanager.memory"
    values = {
        "jobmanager.rpc.address": "127.0.0.1",
        "jobmanager.rpc.port": free_port(),
        "jobmanager.bind-host": "127.0.0.1",
        "rest.address": "127.0.0.1",
        "rest.port": rest_port,
        "rest.bind-address": "127.0.0.1",
        "taskmanager.host": "127.0.0.1",
        "taskmanager.bind-host": "127.0.0.1",
        "taskmanager.numberOfTaskSlots": 1,
        "taskmanager.cpu.cores": "1.0",
        f"{memory}.task.heap.size": "128m",
        f"{memory}.task.off-heap.size": "0",
        f"{memory}.framework.heap.size": "128m",
        f"{memory}.framework.off-heap.size": "64m",
        f"{memory}.network.min": "16m",
        f"{memory}.network.max": "16m",
        f"{memory}.managed.size": "64m",
        f"{memory}.jvm-metaspace.size": "256m",
        f"{memory}.jvm-overhead.min": "64m",
        f"{memory}.jvm-overhead.max": "64m",
        "io.tmp.dirs": folder / "tmp",
    }
    return "".join(f'{name}: "{value}"\n' for name, value in values.items())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a session cluster that knows nothing of our code."""
    folder = tmp_path_factory.mktemp("flink")
    (folder / "tmp").mkdir()
    rest_port = free_port()
    (folder / "config.yaml").write_text(cluster_settings(folder, rest_port))
    shipped = (FLINK / "conf" / "config.yaml").read_text()
    opens = shipped.split("all:", 1)[1].splitlines()[0].split()  # what Java 17 and later need
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    processes = [
        subprocess.Popen(
            [jvm.JAVA, "-Xmx300m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *opens]
            + ["-cp", str(FLINK / "lib" / "*"), entry, "--configDir", str(folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=inherited,
            cwd=folder,
        )
        for entry in (JOB_MANAGER, TASK_MANAGER)
    ]
    address = f"127.0.0.1:{rest_port}"

    def slot() -> bool:
        try:
            overview = urllib3.request("GET", f"http://{address}/overview", retries=False).json()
        except urllib3.exceptions.HTTPError:
            return False
        return bool(overview["slots-available"])

    try:
        wait_for(slot, "a free slot")
        yield address
    finally:
        for process in processes:
            process.kill()
            process.wait()


def ringlog(*words: str) -> list[str]:
    return [sys.executable, "-m", "cli.main", "analytics", *words]


def test_a_submitted_job_counts_with_the_ticks_of_a_process_beside_it(
    stack: Settings, cluster: str, tmp_path: Path
) -> None:
    submitted = subprocess.run(
        ringlog("submit", "--jobmanager", cluster, "--python", sys.executable)
        + ["--checkpoints", (tmp_path / "checkpoints").as_uri()],
        env=environment.of_services(stack),
        capture_output=True,
        text=True,
        check=False,
    )
    assert submitted.returncode == 0, submitted.stderr
    assert len(submitted.stdout.strip()) == 32, "the job's id"

    ticks = subprocess.Popen(ringlog("ticks"), env=environment.of_services(stack))
    try:
        scene = Scene.on(stack)
        now = int(time.time() * 1_000)
        scene.send(*(scene.turn(now + n, call=n) for n in range(4)))
        scene.send_poison(b"no event")
        expected = {w: c for w, c in scene.expected().items() if w.size_s == 10}

        def counted() -> bool:
            return {w: c for w, c in scene.counts().items() if w.size_s == 10} == expected

        wait_for(counted, "the windows")
        wait_for(lambda: scene.poison.keys() <= scene.dead_letters().keys(), "the dead letter")
        wait_for(lambda: any(tmp_path.glob("checkpoints/*/chk-*/_metadata")), "a checkpoint")
    finally:
        ticks.terminate()
        assert ticks.wait(30) == 0


def test_a_cluster_that_is_away_is_said_so(stack: Settings) -> None:
    done = subprocess.run(
        ringlog("submit", "--jobmanager", "127.0.0.1:1"),
        env=environment.of_services(stack),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == NOT_RUNNING
    assert "no job manager of Flink answers" in done.stderr
