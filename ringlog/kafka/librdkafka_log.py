"""librdkafka's own messages, in our logs."""

import logging
import time

_QUIET_S = 10.0


class _Repeats(logging.Filter):
    """Lets one message of a kind and client through in `_QUIET_S`: while a broker is away, the
    library reports every attempt to reach it."""

    def __init__(self) -> None:
        super().__init__()
        self._due_s: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.args[:2] if isinstance(record.args, tuple) else record.args
        now_s = time.monotonic()
        if now_s < self._due_s.get((record.msg, kind), 0.0):
            return False
        self._due_s[record.msg, kind] = now_s + _QUIET_S
        return True


def library_logger() -> logging.Logger:
    """The `logger` of a client; a record's arguments are kind, client and text."""
    logger = logging.getLogger("librdkafka")
    if not logger.filters:
        logger.addFilter(_Repeats())
    return logger
