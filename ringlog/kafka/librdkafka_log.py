"""librdkafka's own messages, in our logs."""

import logging

from ringlog.log import Repeats


def library_logger() -> logging.Logger:
    """The `logger` of a client; a record's arguments are kind, client and text."""
    logger = logging.getLogger("librdkafka")
    if not logger.filters:
        logger.addFilter(Repeats(_kind_and_client))
    return logger


def _kind_and_client(record: logging.LogRecord) -> object:
    return record.msg, record.args[:2] if isinstance(record.args, tuple) else str(record.args)
