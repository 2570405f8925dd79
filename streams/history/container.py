"""Avro object containers made of bodies that are already encoded.

The bodies of Kafka records are spliced behind one header whose schema is the writer's plus
`_partition` and `_offset`, appended to each body as zig-zag varints: nothing is decoded (Avro 1.12
specification, "Object Container Files"). One data block holds records of one partition.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from streams.history.avro_check import HEADER_BYTES
from streams.history.columns import OFFSET, PARTITION

_MAGIC = b"Obj\x01"
_SYNC_BYTES = 16


class Row(NamedTuple):
    """One record of a topic. `value` is as on the log, with Confluent's header; empty: no value."""

    partition: int
    offset: int
    timestamp_ms: int
    value: bytes


def zigzag(n: int) -> bytes:
    """A long as Avro writes it."""
    n = (n << 1) ^ (n >> 63)
    if n < 0x80:
        return bytes((n,))
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


class Header:
    """What precedes the blocks of one writer's schema."""

    def __init__(self, schema: dict[str, Any]) -> None:
        place = [{"name": PARTITION, "type": "long"}, {"name": OFFSET, "type": "long"}]
        text = json.dumps({**schema, "fields": [*schema["fields"], *place]}, ensure_ascii=False)
        meta = {"avro.schema": text.encode(), "avro.codec": b"null"}
        self.sync = hashlib.sha256(text.encode()).digest()[:_SYNC_BYTES]
        self.bytes = b"".join(
            (_MAGIC, zigzag(len(meta)), *(_blob(k.encode()) + _blob(v) for k, v in meta.items()),
             zigzag(0), self.sync)
        )  # fmt: skip


def container(header: Header, rows: Iterable[Row]) -> bytes:
    """A container of the rows, a block for each run of one partition."""
    out = [header.bytes]
    for partition, run in groupby(rows, key=attrgetter("partition")):
        out += _block(partition, list(run), header.sync)
    return b"".join(out)


def _block(partition: int, rows: Sequence[Row], sync: bytes) -> tuple[bytes, ...]:
    place = zigzag(partition)
    pieces = [b""] * (2 * len(rows))
    pieces[0::2] = [row.value[HEADER_BYTES:] for row in rows]
    pieces[1::2] = [place + zigzag(row.offset) for row in rows]
    body = b"".join(pieces)
    return zigzag(len(rows)), zigzag(len(body)), body, sync


def _blob(data: bytes) -> bytes:
    return zigzag(len(data)) + data
