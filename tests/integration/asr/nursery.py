"""Forks workers that report every turn of their loop, so that a test can kill them amid work.

`python -m tests.integration.asr.nursery` reads lines `PARTITION END BATCH COMMIT_EVERY_S` and
answers `pid N`; the worker then writes `turn N` after every turn and `done` once it has committed
up to END. Forking saves each of some eighty workers the second that imports take.
"""

import os
import sys

from asr_worker.core import Core
from asr_worker.detector import Silero
from asr_worker.host import Host
from asr_worker.recogniser import Recognisers
from ringlog import log
from ringlog.asr_models import load
from ringlog.health import Health
from ringlog.kafka.codec import codec_of
from ringlog.settings import settings


def work(partition: int, end: int, batch: int, commit_every_s: float) -> None:
    """One worker, from its group's last commit up to `end`."""
    core = Core(Recognisers(load()), Silero())
    config = settings()
    host = Host(
        config,
        core,
        codec_of(config),
        Health("asr"),
        "asr-0",
        batch=batch,
        commit_every_s=commit_every_s,
    )
    turns = 0
    while host.committed.get(partition, 0) < end:
        if host.turn():
            turns += 1
            print("turn", turns, flush=True)
    host.close()
    print("done", flush=True)


def main() -> None:
    """Fork one worker a line; the nursery itself loads no model and has no threads."""
    import onnxruntime  # noqa: F401 # imported once, before forking
    import sherpa_onnx  # noqa: F401

    log.configure("asr", "WARNING")
    for line in sys.stdin:
        partition, end, batch, commit_every_s = line.split()
        pid = os.fork()
        if pid == 0:
            try:
                work(int(partition), int(end), int(batch), float(commit_every_s))
            finally:
                os._exit(0)
        print("pid", pid, flush=True)
        os.waitpid(pid, 0)
        print("gone", flush=True)


if __name__ == "__main__":
    main()
