"""Streaming a result in any format: the engine writes it into a pipe, we read the other end.

chDB's own streaming repeats a format's head and foot in every chunk; INTO OUTFILE into a pipe gives
the format as it should be, and a full pipe holds the engine back when the client is slow.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from sql.server.engine import EngineSession, Result, quote_string
from sql.server.errors import SYNTAX_ERROR, ServerError
from sql.server.statement import Statement

_PIPE_BYTES = 1 << 20
_READ_BYTES = 1 << 18
_JSON_BEGIN = b'{\n\t"meta":'
_JSON_DATA = b'"data":\n\t[\n'
JSON_FORMATS = frozenset({"JSON", "JSONCompact", "JSONStrings", "JSONCompactStrings"})


class Output:
    """A result that is being written: read it to its end, then ask for ``result()``."""

    def __init__(self, reader: asyncio.StreamReader, running: asyncio.Task[Result]) -> None:
        self._reader = reader
        self._running = running

    async def read(self) -> bytes:
        """Some bytes, or none at the end."""
        return await self._reader.read(_READ_BYTES)

    async def result(self) -> Result:
        """What the engine counted. Raises ServerError if the query failed."""
        return await self._running


def late_error(error: ServerError, tag: str) -> bytes:
    """The end of a body whose query failed after the status was sent.

    Clients look for it by the tag, which X-ClickHouse-Exception-Tag told, so that no text of a
    result can be mistaken for it (ClickHouse 25.11 and newer). The number is the message's bytes.
    """
    message = f"{error}\n".encode("utf-8", "replace")
    mark = b"__exception__"
    lines = (b"", mark, tag.encode(), message + b"%d " % len(message) + tag.encode(), mark, b"")
    return b"\r\n".join(lines)


def json_in_order(text: bytes) -> bytes:
    """A whole JSON output with the totals in their place.

    Where there are no rows the engine writes the totals in front of everything else.
    """
    begin = text.find(_JSON_BEGIN)
    if begin <= 0:
        return text
    return text[begin:].replace(_JSON_DATA, _JSON_DATA + text[:begin], 1)


def into_file(statement: Statement, path: str, default_format: str) -> str:
    """The statement with its output directed into a file."""
    clause = f"\nINTO OUTFILE {quote_string(path)} APPEND "
    if statement.format_at is None:
        return f"{statement.sql}{clause}FORMAT {default_format}"
    at = statement.format_at
    return f"{statement.sql[:at]}{clause}{statement.sql[at:]}"


@asynccontextmanager
async def streamed(
    session: EngineSession,
    statement: Statement,
    default_format: str,
    parameters: Mapping[str, str],
) -> AsyncIterator[Output]:
    """Run a statement that gives rows. Leaving early kills the query."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        pass  # above the user's allowance: the default size does as well
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_PIPE_BYTES)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
    )

    async def run() -> Result:
        try:
            sql = into_file(statement, f"/proc/self/fd/{write_end}", default_format)
            return await session.execute(sql, parameters=parameters)
        except ServerError as error:
            if error.code == SYNTAX_ERROR:
                await session.explain_syntax_error(statement.sql)
            raise
        finally:
            os.close(write_end)  # the reader sees the end

    running = asyncio.create_task(run())
    try:
        yield Output(reader, running)
    finally:
        transport.close()  # an engine that waits on a full pipe goes on, with an error
        if not running.done():
            running.cancel()
        await asyncio.wait((running,))
        if not running.cancelled():
            running.exception()  # mark it as seen
