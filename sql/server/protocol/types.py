"""ClickHouse type names, read just far enough to know how a column's bytes are laid out.

The layouts are those of the Native format without custom serialisation (protocol revisions below
54454): https://clickhouse.com/docs/interfaces/formats/Native.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from sql.server.errors import NOT_IMPLEMENTED, ProtocolError

MAX_NAME_BYTES = 65_536
_MAX_DEPTH = 50
_CACHED_NAME_BYTES = 512


@dataclass(frozen=True, slots=True)
class Fixed:
    """``width`` bytes a row."""

    width: int


@dataclass(frozen=True, slots=True)
class Text:
    """A length-prefixed string a row."""


@dataclass(frozen=True, slots=True)
class JsonText:
    """A version word (1: text), then a string a row."""


@dataclass(frozen=True, slots=True)
class Nullable:
    """A null map of one byte a row, then the inner column."""

    inner: Layout


@dataclass(frozen=True, slots=True)
class Array:
    """One u64 end offset a row, then the inner column with as many rows as the last offset."""

    inner: Layout


@dataclass(frozen=True, slots=True)
class Tuple:
    """The columns one after the other; an empty tuple takes one byte a row."""

    items: tuple[Layout, ...]


@dataclass(frozen=True, slots=True)
class LowCardinality:
    """A version word, then flags, a dictionary of ``inner`` and the rows' keys."""

    inner: Layout


Layout = Fixed | Text | JsonText | Nullable | Array | Tuple | LowCardinality

_WIDTHS = {
    1: "UInt8 Int8 Bool Enum8 Nothing",
    2: "UInt16 Int16 Date Enum16 BFloat16",
    4: "UInt32 Int32 Float32 Date32 DateTime DateTime32 Time IPv4 Decimal32",
    8: "UInt64 Int64 Float64 DateTime64 Time64 Decimal64",
    16: "UUID IPv6 UInt128 Int128 Decimal128",
    32: "UInt256 Int256 Decimal256",
}
_FIXED = {name: Fixed(width) for width, names in _WIDTHS.items() for name in names.split()}
_GEO = {
    "Point": "Tuple(Float64, Float64)",
    "Ring": "Array(Point)",
    "LineString": "Array(Point)",
    "MultiLineString": "Array(LineString)",
    "Polygon": "Array(Ring)",
    "MultiPolygon": "Array(Polygon)",
}
_TYPE = re.compile(r"\s*(\w+)\s*(?:\((.*)\))?\s*$", re.DOTALL)
_NAMED = re.compile(r"(?:`(?:[^`\\]|\\.)+`|\"(?:[^\"\\]|\\.)+\"|[A-Za-z_]\w*)\s+(\S.*)$", re.DOTALL)
_DECIMAL_WIDTHS = ((9, 4), (18, 8), (38, 16), (76, 32))


def layout(name: str) -> Layout:
    """The layout of a column of type ``name``.

    Raises ProtocolError (NOT_IMPLEMENTED) for a type whose end cannot be found: AggregateFunction,
    Variant, Dynamic, or something that is not a type.
    """
    if len(name) <= _CACHED_NAME_BYTES:
        return _cached(name)
    if len(name) > MAX_NAME_BYTES:
        raise ProtocolError(NOT_IMPLEMENTED, f"A type name of {len(name)} characters is too long")
    return _parse(name, 0)


@lru_cache(maxsize=4096)
def _cached(name: str) -> Layout:
    return _parse(name, 0)


def _parse(name: str, depth: int) -> Layout:
    if depth > _MAX_DEPTH:
        raise ProtocolError(NOT_IMPLEMENTED, "The type is nested too deeply")
    found = _TYPE.match(_GEO.get(name.strip(), name))
    if found is None:
        raise _unknown(name)
    kind, inside = found.group(1), found.group(2)
    if kind in _FIXED:
        return _FIXED[kind]
    if kind.startswith("Interval") and inside is None:
        return Fixed(8)
    if kind == "String":
        return Text()
    if kind in ("JSON", "Object"):
        return JsonText()
    args = split_arguments(inside or "")
    try:
        return _composite(kind, args, depth + 1)
    except (IndexError, ValueError):
        raise _unknown(name) from None


def _composite(kind: str, args: list[str], depth: int) -> Layout:
    match kind:
        case "FixedString":
            width = int(args[0])
            if width < 1:
                raise ValueError(width)
            return Fixed(width)
        case "Decimal":
            precision = int(args[0])
            for most, width in _DECIMAL_WIDTHS:
                if 0 < precision <= most:
                    return Fixed(width)
            raise ValueError(precision)
        case "Nullable":
            return Nullable(_parse(args[0], depth))
        case "Array":
            return Array(_parse(args[0], depth))
        case "Map":
            return Array(Tuple((_parse(args[0], depth), _parse(args[1], depth))))
        case "LowCardinality":
            inner = _parse(args[0], depth)
            # The dictionary holds the type without its null map.
            return LowCardinality(inner.inner if isinstance(inner, Nullable) else inner)
        case "Tuple" | "Nested":
            items = Tuple(tuple(_parse(_unnamed(arg), depth) for arg in args))
            return Array(items) if kind == "Nested" else items
        case "SimpleAggregateFunction":
            return _parse(args[1], depth)
        case _:
            raise ValueError(kind)


def _unnamed(argument: str) -> str:
    """A tuple element's type, without the name that may stand before it."""
    found = _NAMED.match(argument)
    return found.group(1) if found else argument


def split_arguments(inside: str) -> list[str]:
    """Split ``a, b(c, d), 'e,f'`` at the commas that are outside brackets and quotes."""
    out: list[str] = []
    depth = start = position = 0
    quote = ""
    while position < len(inside):
        char = inside[position]
        if quote:
            if char == "\\":
                position += 1
            elif char == quote:
                quote = ""
        elif char in "'`\"":
            quote = char
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == "," and depth == 0:
            out.append(inside[start:position].strip())
            start = position + 1
        position += 1
    if inside[start:].strip():
        out.append(inside[start:].strip())
    return out


def _unknown(name: str) -> ProtocolError:
    return ProtocolError(NOT_IMPLEMENTED, f"Cannot read a column of type {name[:200]} in Native")
