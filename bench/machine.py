"""The machine, the versions and the commit that figures belong to."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from bench.measure import Machine
from ringlog.settings import root

PACKAGES = (
    "ringlog", "sherpa-onnx", "onnxruntime", "numpy", "fastavro", "avro", "aiokafka",
    "confluent-kafka", "uvloop", "pydantic", "chdb", "faust-streaming",
)  # fmt: skip


def cpu_model(cpuinfo: str) -> str:
    """The first model name in the text of /proc/cpuinfo, or else the architecture."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return platform.machine() or "unknown"


def this_machine() -> Machine:
    """Facts that decide how fast things are."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        cpuinfo = ""
    return Machine(
        cpu=cpu_model(cpuinfo),
        cores=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )


def versions() -> dict[str, str]:
    """Installed versions of what is measured."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Short id of the checkout's commit; empty outside of a checkout. A `+` marks changes."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=root(), capture_output=True, text=True, check=True, timeout=20,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def load() -> float:
    """Load average of the last minute."""
    return round(os.getloadavg()[0], 2)
