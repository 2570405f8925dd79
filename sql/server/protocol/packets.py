"""Packets of ClickHouse's native TCP protocol, revision 54460 and older.

Packet numbers and the revisions at which fields appear are those of ClickHouse's
src/Core/Protocol.h and ProtocolDefines.h. The smaller of the two sides' revisions counts. Up to
54453 the engine's Native bytes go out as they are; from 54454 on each column has a mark, which
costs a walk over every block. Parameters of queries exist from 54459 on.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from sql.server.errors import UNEXPECTED_PACKET_FROM_CLIENT, ProtocolError, ServerError
from sql.server.protocol.blocks import BLOCK_INFO, header, marked
from sql.server.protocol.compression import compress
from sql.server.protocol.wire import (
    Buffer,
    Parse,
    encode_string,
    encode_varint,
    string,
    take,
    text,
    u8,
    varint,
)

REVISION = 54460

CLIENT_HELLO = 0
CLIENT_QUERY = 1
CLIENT_DATA = 2
CLIENT_CANCEL = 3
CLIENT_PING = 4
CLIENT_TABLES_STATUS = 5

SERVER_HELLO = 0
SERVER_DATA = 1
SERVER_EXCEPTION = 2
SERVER_PROGRESS = 3
SERVER_PONG = 4
SERVER_END_OF_STREAM = 5
SERVER_PROFILE_INFO = 6
SERVER_TOTALS = 7
SERVER_EXTREMES = 8
SERVER_PROFILE_EVENTS = 14

WITH_CLIENT_INFO = 54032
WITH_TIME_ZONE = 54058
WITH_QUOTA_KEY = 54060
WITH_DISPLAY_NAME = 54372
WITH_VERSION_PATCH = 54401
WITH_WRITE_PROGRESS = 54420
WITH_TEXT_SETTINGS = 54429
WITH_SECRET = 54441
WITH_OPENTELEMETRY = 54442
WITH_DISTRIBUTED_DEPTH = 54448
WITH_QUERY_START_TIME = 54449
WITH_PARALLEL_REPLICAS = 54453
WITH_MARKS = 54454
WITH_PROFILE_EVENTS_IN_INSERT = 54456
WITH_ADDENDUM = 54458
WITH_PARAMETERS = 54459
WITH_ELAPSED = 54460

_SETTING_IMPORTANT = 1
_QUERY_KIND_NONE = 0
_STRING = 1 << 20
_HTTP_INTERFACE = 2
_PROFILE_EVENTS = (
    ("host_name", "String"),
    ("current_time", "DateTime"),
    ("thread_id", "UInt64"),
    ("type", "Enum8('increment' = 1, 'gauge' = 2)"),
    ("name", "String"),
    ("value", "Int64"),
)


@dataclass(frozen=True, slots=True)
class ClientHello:
    """Who connects. ``revision`` is the client's own."""

    name: str
    revision: int
    database: str
    user: str
    password: str


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that came with a query; an important one must be known to the server."""

    value: str
    important: bool


@dataclass(frozen=True, slots=True)
class Query:
    """One query as the client sent it; data blocks follow separately.

    The values of ``parameters`` are still quoted.
    """

    query_id: str
    settings: dict[str, Setting]
    compressed: bool
    sql: str
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueryContext:
    """What is needed to read a query: revision, bounds, and the numeric settings' names.

    Below revision 54429 a setting's value is a number or a string depending on its type, which
    only the engine's list of settings tells.
    """

    revision: int
    query_bytes: int
    settings: int
    numeric_settings: frozenset[str] = frozenset()


def hello(buffer: Buffer) -> Parse[ClientHello]:
    """Read the first packet of a connection, its packet number included."""
    packet = yield from varint(buffer)
    if packet != CLIENT_HELLO:
        raise ProtocolError(
            UNEXPECTED_PACKET_FROM_CLIENT, f"Unexpected packet {packet} from client: expected Hello"
        )
    name = yield from text(buffer, _STRING)
    yield from varint(buffer)
    yield from varint(buffer)
    revision = yield from varint(buffer)
    database = yield from text(buffer, _STRING)
    user = yield from text(buffer, _STRING)
    password = yield from text(buffer, _STRING)
    return ClientHello(name, revision, database, user, password)


def query(buffer: Buffer, context: QueryContext) -> Parse[Query]:
    """Read a Query packet behind its number."""
    revision = context.revision
    query_id = yield from text(buffer, _STRING)
    if revision >= WITH_CLIENT_INFO:
        yield from _client_info(buffer, revision)
    settings = yield from _settings(buffer, context)
    if revision >= WITH_SECRET:
        yield from text(buffer, _STRING)
    yield from varint(buffer)  # stage: always answered as complete
    compressed = yield from varint(buffer)
    sql = yield from string(buffer, context.query_bytes)
    parameters: dict[str, str] = {}
    if revision >= WITH_PARAMETERS:
        while name := (yield from text(buffer, _STRING)):
            if len(parameters) >= context.settings:
                raise ProtocolError(UNEXPECTED_PACKET_FROM_CLIENT, "Too many parameters")
            yield from varint(buffer)
            value = yield from string(buffer, context.query_bytes)
            parameters[name] = value.decode("utf-8", "surrogateescape")
    text_of = sql.decode("utf-8", "surrogateescape")
    return Query(query_id, settings, bool(compressed), text_of, parameters)


def addendum(buffer: Buffer) -> Parse[None]:
    """Read what follows the handshake from revision 54458 on: a quota key, of no use here."""
    yield from text(buffer, _STRING)


def _client_info(buffer: Buffer, revision: int) -> Parse[None]:
    if (yield from u8(buffer)) == _QUERY_KIND_NONE:
        return
    for _ in range(3):  # initial user, query id, address
        yield from text(buffer, _STRING)
    if revision >= WITH_QUERY_START_TIME:
        yield from take(buffer, 8)
    interface = yield from u8(buffer)
    if interface == _HTTP_INTERFACE:
        raise ProtocolError(UNEXPECTED_PACKET_FROM_CLIENT, "Client info of an HTTP client over TCP")
    for _ in range(3):  # OS user, host, client name
        yield from text(buffer, _STRING)
    for _ in range(3):  # major, minor, revision
        yield from varint(buffer)
    if revision >= WITH_QUOTA_KEY:
        yield from text(buffer, _STRING)
    if revision >= WITH_DISTRIBUTED_DEPTH:
        yield from varint(buffer)
    if revision >= WITH_VERSION_PATCH:
        yield from varint(buffer)
    if revision >= WITH_OPENTELEMETRY and (yield from u8(buffer)):
        yield from take(buffer, 24)
        yield from text(buffer, _STRING)
        yield from u8(buffer)
    if revision >= WITH_PARALLEL_REPLICAS:
        for _ in range(3):
            yield from varint(buffer)


def _settings(buffer: Buffer, context: QueryContext) -> Parse[dict[str, Setting]]:
    out: dict[str, Setting] = {}
    while True:
        name = yield from text(buffer, _STRING)
        if not name:
            return out
        if len(out) >= context.settings:
            raise ProtocolError(UNEXPECTED_PACKET_FROM_CLIENT, "Too many settings with a query")
        if context.revision >= WITH_TEXT_SETTINGS:
            flags = yield from varint(buffer)
            value = yield from text(buffer, _STRING)
            out[name] = Setting(value, bool(flags & _SETTING_IMPORTANT))
        elif name in context.numeric_settings:
            out[name] = Setting(str((yield from varint(buffer))), False)
        else:
            out[name] = Setting((yield from text(buffer, _STRING)), False)


def server_hello(
    name: str, version: tuple[int, int, int], revision: int, time_zone: str, display_name: str
) -> bytes:
    """The answer to Hello; ``revision`` is the one that both sides will use."""
    out = encode_varint(SERVER_HELLO) + encode_string(name)
    out += encode_varint(version[0]) + encode_varint(version[1]) + encode_varint(REVISION)
    if revision >= WITH_TIME_ZONE:
        out += encode_string(time_zone)
    if revision >= WITH_DISPLAY_NAME:
        out += encode_string(display_name)
    if revision >= WITH_VERSION_PATCH:
        out += encode_varint(version[2])
    return out


def data(native: bytes, compressed: bool, packet: int = SERVER_DATA) -> bytes:
    """A Data packet, or one like it, around one Native block. The table's name is never
    compressed."""
    payload = BLOCK_INFO + native
    return (
        encode_varint(packet) + encode_string("") + (compress(payload) if compressed else payload)
    )


def progress(revision: int, rows: int, size_bytes: int) -> bytes:
    """Rows and bytes since the last Progress packet; no total is known."""
    out = encode_varint(SERVER_PROGRESS) + encode_varint(rows) + encode_varint(size_bytes)
    out += encode_varint(0)
    if revision >= WITH_WRITE_PROGRESS:
        out += encode_varint(0) + encode_varint(0)
    if revision >= WITH_ELAPSED:
        out += encode_varint(0)
    return out


def no_profile_events() -> bytes:
    """A ProfileEvents packet that counts nothing: newer clients wait for one behind each block of
    an INSERT. It is never compressed."""
    return data(marked(header(_PROFILE_EVENTS)), False, SERVER_PROFILE_EVENTS)


def profile_info(rows: int, blocks: int, size_bytes: int) -> bytes:
    """The totals of a result."""
    out = encode_varint(SERVER_PROFILE_INFO)
    out += encode_varint(rows) + encode_varint(blocks) + encode_varint(size_bytes)
    # applied_limit 0, rows_before_limit 0, calculated_rows_before_limit 1: a client of 2018
    # crashes when the last one is 0.
    return out + b"\x00" + encode_varint(0) + b"\x01"


def end_of_stream() -> bytes:
    """The last packet of every answer that is not an exception."""
    return encode_varint(SERVER_END_OF_STREAM)


def pong() -> bytes:
    """The answer to Ping."""
    return encode_varint(SERVER_PONG)


def exception(error: ServerError) -> bytes:
    """An Exception packet without stack trace and without a nested exception."""
    return (
        encode_varint(SERVER_EXCEPTION)
        + struct.pack("<i", error.code)
        + encode_string("DB::Exception")
        + encode_string("DB::Exception: " + error.message)
        + encode_string("")
        + b"\x00"
    )
