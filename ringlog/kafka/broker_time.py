"""How a process learns the broker's time: from acknowledgements, first that of `started`."""

import os
import time

from ringlog import log
from ringlog.clock import LOG_CLOCK, now_ms
from schemas.events import Lease
from schemas.ids import heartbeat_id

ANNOUNCED: tuple[str, int] = ("robots.leases", 0)
"""Topic and partition of `started`."""

_TELL_MS = 500

_log = log.logger("ringlog.kafka")


def started(service: str) -> Lease:
    """A service's first event. Its acknowledgement sets the clock before any decision by time: with
    a wrong clock, "since an hour ago" could leave out running calls."""
    instance = f"{service}.{os.getpid()}.{time.time_ns()}"
    return Lease(
        event_id=heartbeat_id(instance, 0, 0),
        kind="started",
        occurred_at=now_ms(),
        producer=service,
        shard=f"service/{service}",
        worker=instance,
        epoch=0,
    )


def set_clock(appended_ms: int, sent_ns: int) -> None:
    """Takes the time that the broker stamped on a record, handed over at `sent_ns` (monotonic)."""
    moved_ms = LOG_CLOCK.appended(appended_ms, sent_ns)
    if abs(moved_ms) >= _TELL_MS:
        _log.warning("this machine's clock differs from the broker's", corrected_by_ms=moved_ms)
