"""Loaded by every Python process with this folder on PYTHONPATH: its time of day can be stepped.

Stands for a machine whose clock is wrong. Only `time.time` and `time.time_ns` are: the monotonic
clock is not changed by a step on a real machine either. Each process has a file of its pid in
RINGLOG_FAULTS_CLOCK that says by how many seconds, read at every call; it begins with what the file
`start` says there.
"""

import mmap
import os
import struct
import time
from pathlib import Path


def _install(folder: Path) -> None:
    start, own = folder / "start", folder / str(os.getpid())
    own.write_bytes(start.read_bytes() if start.is_file() else bytes(8))
    with own.open("rb") as file:
        wrong_by = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    real, real_ns, unpack = time.time, time.time_ns, struct.Struct("<q").unpack
    time.time = lambda: real() + unpack(wrong_by)[0]
    time.time_ns = lambda: real_ns() + unpack(wrong_by)[0] * 1_000_000_000


if _folder := os.environ.get("RINGLOG_FAULTS_CLOCK"):
    _install(Path(_folder))
