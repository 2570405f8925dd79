"""Time zones of DateTime columns, which the engine leaves out of its Native output.

The engine writes for protocol revision 0, and clients of that age knew no ``DateTime('zone')``. The
zone is put back into the type names of a block; the data are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from sql.server.protocol.blocks import Column, block_places
from sql.server.protocol.wire import Buffer, encode_string, parse_all

_PLAIN = "DateTime"
_ZONED = "DateTime("


def lacks_zones(columns: Sequence[Column]) -> bool:
    """Whether any column might have lost its zone."""
    return any(kind == _PLAIN for _, kind in columns)


def zoned(columns: Sequence[Column], described: Sequence[Column]) -> tuple[Column, ...] | None:
    """The columns with the zones of their description, or None if there is nothing to put back."""
    if len(columns) != len(described):
        return None
    out = tuple(
        (name, full if kind == _PLAIN and full.startswith(_ZONED) else kind)
        for (name, kind), (_, full) in zip(columns, described, strict=True)
    )
    return out if out != tuple(columns) else None


def with_zones(native: bytes, columns: Sequence[Column]) -> bytes:
    """One block with these columns' type names in the place of its own."""
    _, places = parse_all(block_places(Buffer(native)))
    out: list[bytes] = []
    at = 0
    for (start, end), (_, kind) in zip(places, columns, strict=True):
        out += (native[at:start], encode_string(kind))
        at = end
    out.append(native[at:])
    return b"".join(out)
