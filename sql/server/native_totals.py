"""Totals and extremes for native clients: the engine's Native output leaves both out.

Its JSON output has them. A query that may have either is run once as JSON, and the rows, totals and
extremes are made into Native blocks from that one answer, so they always belong together.

The engine reads the rows back, never Python: a large ``json.loads`` would hold every connection up.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sql.server.engine import NATIVE, EngineSession, extremes_on, quote_string
from sql.server.errors import NOT_IMPLEMENTED, TOO_MANY_ROWS_OR_BYTES, ServerError
from sql.server.http_output import json_in_order
from sql.server.protocol.blocks import Column, block_places, split
from sql.server.protocol.wire import Buffer, encode_string, parse_all
from sql.server.spool import Spool, SpoolBudget
from sql.server.statement import Statement
from sql.server.tokenizer import Token

MAX_RESULT_BYTES = 64 << 20
MAX_RESULT_ROWS = 1_000_000
_MAX_TEXT_BYTES = 2 * MAX_RESULT_BYTES
_LIMIT = "max_result_rows"
_LIMITS = frozenset({_LIMIT, "max_result_bytes", "result_overflow_mode"})
# Every value must survive the way through JSON; a result that is too large is an error.
_SETTINGS = {
    "output_format_json_quote_64bit_integers": "1",
    "output_format_json_quote_64bit_floats": "1",
    "output_format_json_quote_denormals": "1",
    "output_format_json_quote_decimals": "1",
    "output_format_json_named_tuples_as_objects": "1",
    "date_time_output_format": "iso",  # in UTC: a local time may occur twice
    "max_result_bytes": str(MAX_RESULT_BYTES),
    _LIMIT: str(MAX_RESULT_ROWS),
    "result_overflow_mode": "throw",
}
_READ_SETTINGS = ", ".join(
    (
        "extremes = 0",
        "input_format_parallel_parsing = 0",
        "max_threads = 1",
        "date_time_input_format = 'best_effort'",
        "allow_suspicious_low_cardinality_types = 1",
    )
)
_EXTREMES = "extremes"
# Newlines inside strings are escaped, so these stand only between the parts of a JSONCompact.
_DATA_BEGIN = b'"data":\n\t[\n'
_DATA_END = b"\n\t]"
_BETWEEN_ROWS = b"],\n\t\t["
_REPLACED = "\ufffd".encode()


@dataclass(frozen=True, slots=True)
class Whole:
    """A result's blocks in Native format; ``totals`` and ``extremes`` are None where absent."""

    columns: list[Column]
    rows: int
    data: list[bytes]
    totals: bytes | None
    extremes: bytes | None


def may_have_both(statement: Statement, settings: Mapping[str, str]) -> bool:
    """Whether the query asks for totals, or for extremes by its own words or a setting."""
    words = statement.tokens
    totals = any(
        one.upper == "WITH" and two.upper == "TOTALS" and not _names_table(words[at + 2 : at + 3])
        for at, (one, two) in enumerate(zip(words, words[1:], strict=False))
    )
    return totals or extremes_on(statement) or settings.get(_EXTREMES, "0") not in ("0", "false")


def _names_table(behind: Sequence[Token]) -> bool:
    """Whether ``WITH totals`` begins a common table expression, by the token behind it."""
    return any(token.upper == "AS" or token.text == "(" for token in behind)


def settings(statement: Statement, own: Mapping[str, str]) -> dict[str, str]:
    """The query's ``own`` settings with those that must hold for read_whole().

    Raises ServerError (NOT_IMPLEMENTED) where the statement itself sets one of them otherwise.
    """
    for name, sign in zip(statement.tokens, statement.tokens[1:], strict=False):
        key = name.text.lower() if name.is_name and sign.text == "=" else ""
        if key in _SETTINGS and key not in _LIMITS:
            raise ServerError(
                NOT_IMPLEMENTED,
                f"A query with totals or extremes cannot set {key} over the native protocol. "
                "(NOT_IMPLEMENTED)",
            )
    wanted = dict(own) | _SETTINGS
    limit = own.get(_LIMIT, "")
    if limit.isdecimal() and 0 < int(limit) < MAX_RESULT_ROWS:
        wanted[_LIMIT] = limit
    return wanted


async def read_whole(
    session: EngineSession,
    budget: SpoolBudget,
    sql: str,
    parameters: Mapping[str, str],
) -> Whole:
    """Run the query; settings() must hold in the session.

    Raises ServerError: what the engine says, TOO_MANY_ROWS_OR_BYTES over the limits, and
    NOT_IMPLEMENTED where JSON may have changed a string.
    """
    spool = Spool(budget, MAX_RESULT_BYTES)
    try:
        # Into a file: without rows the engine gives no output, and the totals with it.
        clause = f"INTO OUTFILE {quote_string(spool.path)} APPEND FORMAT JSONCompact"
        await session.execute(f"{sql}\n{clause}", parameters=parameters)
        answer, lines = await asyncio.to_thread(_parts, spool)
    finally:
        spool.close()
    columns = [(column["name"], column["type"]) for column in answer["meta"]]
    rows, data = await _blocks(session, budget, columns, lines)
    totals = extremes = None
    if "totals" in answer:
        lines = _lines([answer["totals"]])
        totals = b"".join((await _blocks(session, budget, columns, lines))[1])
    if _EXTREMES in answer:
        lines = _lines([answer[_EXTREMES]["min"], answer[_EXTREMES]["max"]])
        extremes = b"".join((await _blocks(session, budget, columns, lines))[1])
    return Whole(columns, rows, data, totals, extremes)


def _parts(spool: Spool) -> tuple[dict[str, Any], bytes]:
    """The answer without its rows, and the rows as JSONCompactEachRow. Raises ServerError."""
    if os.stat(spool.path).st_size > _MAX_TEXT_BYTES:
        raise ServerError(
            TOO_MANY_ROWS_OR_BYTES,
            f"A result with totals or extremes has more than {_MAX_TEXT_BYTES} bytes as JSON. "
            "(TOO_MANY_ROWS_OR_BYTES)",
        )
    text = json_in_order(spool.read())
    if _REPLACED in text:
        raise ServerError(
            NOT_IMPLEMENTED,
            "A result with totals or extremes holds a string that is not valid UTF-8, or the "
            "character U+FFFD: over the native protocol it could not be told from a damaged one. "
            "Use hex(), or ask over HTTP. (NOT_IMPLEMENTED)",
        )
    begin = text.index(_DATA_BEGIN) + len(_DATA_BEGIN)
    end = text.index(_DATA_END, begin - 1)
    answer: dict[str, Any] = json.loads(text[:begin] + text[end:])
    return answer, text[begin:end].strip().replace(_BETWEEN_ROWS, b"]\n[")


def _lines(rows: Sequence[object]) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


async def _blocks(
    session: EngineSession, budget: SpoolBudget, columns: Sequence[Column], lines: bytes
) -> tuple[int, list[bytes]]:
    """JSONCompactEachRow as Native blocks with these columns, and the number of rows."""
    if not lines:
        return 0, []
    structure = ", ".join(f"c{number} {kind}" for number, (_, kind) in enumerate(columns))
    spool = Spool(budget, _MAX_TEXT_BYTES)
    try:
        spool.write(lines)
        path, form = quote_string(spool.path), quote_string("JSONCompactEachRow")
        result = await session.execute(
            f"SELECT * FROM file({path}, {form}, {quote_string(structure)}, 'none') "
            f"SETTINGS {_READ_SETTINGS}",
            NATIVE,
        )
    finally:
        spool.close()
    return await asyncio.to_thread(_cut, result.data, columns)


def _cut(output: bytes, columns: Sequence[Column]) -> tuple[int, list[bytes]]:
    """The rows of a Native output, and its blocks with these columns."""
    found = split(output)
    rows = sum(shape.rows for shape, _ in found)
    return rows, [_named(native, columns) for _, native in found]


def _named(native: bytes, columns: Sequence[Column]) -> bytes:
    """The block with its columns' own names, which may occur twice, and full types."""
    _, places = parse_all(block_places(Buffer(native)))
    out: list[bytes] = []
    at = 0
    for number, ((start, end), (name, kind)) in enumerate(zip(places, columns, strict=True)):
        out += (native[at : start - len(encode_string(f"c{number}"))], encode_string(name))
        out.append(encode_string(kind))
        at = end
    out.append(native[at:])
    return b"".join(out)
