"""`python -m streams.history [--topics A,B]`: the history sink, until it is told to stop."""

import argparse
import ctypes
import signal
import sys
import threading

from ringlog import log
from ringlog.health import Health, serve_health_in_thread
from ringlog.settings import settings
from streams.history.columns import TOPICS_KEPT
from streams.history.sink import Sink
from streams.history.writer import SERVICE

_M_MMAP_THRESHOLD = -3  # malloc.h of glibc
_LARGE_BYTES = 1 << 20


def _give_back_large_blocks() -> None:
    """Memory of a batch goes back to the system with the batch (mallopt(3)). By default glibc
    raises its threshold with the first large block that is freed, and keeps the holes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def main() -> int:
    """Exit code 0: stopped on request; 1: failed; 2: wrong usage."""
    known = {t.name: t for t in TOPICS_KEPT}
    parser = argparse.ArgumentParser(description="Write every topic to ClickHouse.")
    parser.add_argument("--topics", help="only these, separated by commas; default: all")
    args = parser.parse_args()
    names = args.topics.split(",") if args.topics else list(known)
    if wrong := [name for name in names if name not in known]:
        parser.error(f"no such topic in ClickHouse: {', '.join(wrong)}")

    _give_back_large_blocks()
    config = settings()
    log.configure(SERVICE, config.log_level)
    logger = log.logger("ringlog.history")
    health = Health(SERVICE)
    stopping = threading.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, lambda *_: stopping.set())
    try:
        serve_health_in_thread(health, config.bind_host, config.metrics_port_of(SERVICE))
        Sink(config, health, stopping, [known[name] for name in names]).run()
    except Exception as error:
        logger.exception("failed", error=f"{type(error).__name__}: {error}")
        return 1
    logger.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
