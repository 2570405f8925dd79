"""Structured logs: one JSON object a line on standard output, phone numbers masked."""

import logging
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

_PHONE = re.compile(r"(?<![\w-])\+?\d[\d -]{5,16}\d(?![\w-])")
_KEEP = frozenset({"timestamp", "level", "service", "offset", "port", "pid", "occurred_at"})


def mask_phones(text: str) -> str:
    """Replaces all but the last two digits of what looks like a phone number."""
    return _PHONE.sub(_mask, text)


def _mask(found: re.Match[str]) -> str:
    digits = sum(c.isdigit() for c in found[0])
    if not 7 <= digits <= 15:
        return found[0]
    return "*" * (digits - 2) + found[0][-2:]


def _mask_processor(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str) and key not in _KEEP:
            event[key] = mask_phones(value)
    return event


_QUIET_S = 10.0
_CHATTY = ("aiokafka", "faust", "mode")


class Repeats(logging.Filter):
    """Lets one message of a kind through in ten seconds: while a broker is away, its clients
    report every attempt to reach it."""

    def __init__(self, kind_of: Callable[[logging.LogRecord], object]) -> None:
        super().__init__()
        self._kind_of = kind_of
        self._due_s: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is written."""
        kind = self._kind_of(record)
        if kind is None:
            return True
        now_s = time.monotonic()
        if now_s < self._due_s.get(kind, 0.0):
            return False
        self._due_s[kind] = now_s + _QUIET_S
        return True


def _place_in_a_library(record: logging.LogRecord) -> object:
    """The line of code, for libraries that repeat themselves."""
    chatty = record.name.startswith(_CHATTY)
    return (record.pathname, record.lineno) if chatty else None


def configure(service: str, level: str = "INFO") -> None:
    """Sends structlog's and the standard library's records of this process to standard output."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.format_exc_info,
        _mask_processor,
    ]
    structlog.contextvars.bind_contextvars(service=service)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _bind_service(service)],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _bind_service(service),
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    handler.addFilter(Repeats(_place_in_a_library))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in (*_CHATTY, "aiohttp.access", "websockets"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level)))


def _bind_service(service: str) -> Any:
    def add(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return add


def logger(name: str) -> FilteringBoundLogger:
    """A logger; call as `log.info("what happened", call_id=…)`."""
    found: FilteringBoundLogger = structlog.get_logger(name)
    return found
