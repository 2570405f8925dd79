"""ClickHouse errors: numeric codes, and how they are read out of chDB's exceptions."""

from __future__ import annotations

import re

# Codes of ClickHouse's ErrorCodes.cpp that this server raises itself.
BAD_ARGUMENTS = 36
CHECKSUM_DOESNT_MATCH = 40
NOT_IMPLEMENTED = 48
LOGICAL_ERROR = 49
UNKNOWN_TABLE = 60
SYNTAX_ERROR = 62
UNKNOWN_FORMAT = 73
UNKNOWN_DATABASE = 81
UNKNOWN_PACKET_FROM_CLIENT = 99
UNEXPECTED_PACKET_FROM_CLIENT = 101
UNKNOWN_SETTING = 115
INCORRECT_DATA = 117
UNSUPPORTED_METHOD = 1
TOO_LARGE_STRING_SIZE = 131
TOO_MANY_SIMULTANEOUS_QUERIES = 202
READONLY = 164
SOCKET_TIMEOUT = 209
MEMORY_LIMIT_EXCEEDED = 241
UNKNOWN_DATABASE_ENGINE = 336
SESSION_IS_LOCKED = 373
NOT_ENOUGH_SPACE = 243
QUERY_WAS_CANCELLED = 394
TOO_MANY_ROWS_OR_BYTES = 396
CANNOT_DECOMPRESS = 271
UNKNOWN_COMPRESSION_METHOD = 89
ACCESS_DENIED = 497
AUTHENTICATION_FAILED = 516
ABORTED = 236
UNKNOWN_EXCEPTION = 1002

_CODE = re.compile(r"Code: (\d+)\. DB::(?:Errno|Net|Parsing)?Exception: (.*)", re.DOTALL)
_CODE_PREFIX = re.compile(r"Code: \d+\. DB::(?:Errno|Net|Parsing)?Exception: ")
_PLACE = re.compile(r"(failed at position |\(line 1, col )(\d+)")


class ServerError(Exception):
    """An error that a client sees as a ClickHouse exception.

    ``code`` is ClickHouse's error number, ``message`` the text without the ``Code: N.`` prefix.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"Code: {self.code}. DB::Exception: {self.message}"


class ProtocolError(ServerError):
    """The byte stream cannot be followed any further: answer, then close the connection."""


class CancelledByClient(ServerError):
    """The client sent Cancel: no failure, unlike a query that somebody else killed."""

    def __init__(self) -> None:
        super().__init__(QUERY_WAS_CANCELLED, "Query was cancelled. (QUERY_WAS_CANCELLED)")


def from_engine(error: BaseException) -> ServerError:
    """Read ClickHouse's code and text out of what chDB raised.

    Nested texts (``Code: 107. DB::Exception: Code: 107. …``) keep the outermost code. Text without
    a code becomes UNKNOWN_EXCEPTION.
    """
    if isinstance(error, ServerError):
        return error
    text = str(error)
    found = _CODE.search(text)
    if found is None:
        return ServerError(UNKNOWN_EXCEPTION, text or type(error).__name__)
    message = found.group(2)
    while (nested := _CODE_PREFIX.match(message)) is not None:
        message = message[nested.end() :]
    return ServerError(int(found.group(1)), message)


def moved(error: ServerError, by: int) -> ServerError:
    """The same error with its positions as if ``by`` characters in front had not been there."""
    if error.code != SYNTAX_ERROR or by == 0:
        return error

    def position(found: re.Match[str]) -> str:
        return f"{found.group(1)}{max(int(found.group(2)) - by, 1)}"

    return ServerError(error.code, _PLACE.sub(position, error.message))
