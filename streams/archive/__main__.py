"""`python -m streams.archive`: archives calls' sound until it is told to stop."""

import signal
import sys
import threading

from ringlog import log
from ringlog.health import Health, serve_health_in_thread
from ringlog.settings import settings
from streams.archive.host import SERVICE, Archiver


def main() -> int:
    """Exit code 0: stopped on request; 1: failed."""
    config = settings()
    log.configure(SERVICE, config.log_level)
    logger = log.logger("ringlog.archive")
    health = Health(SERVICE)
    stopping = threading.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, lambda *_: stopping.set())
    try:
        serve_health_in_thread(health, config.bind_host, config.metrics_port_of(SERVICE))
        Archiver(config, health, stopping).run()
    except Exception as error:
        logger.exception("failed", error=f"{type(error).__name__}: {error}")
        return 1
    logger.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
