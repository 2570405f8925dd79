"""Totals and extremes for native clients: the engine's Native output leaves both out.

Its JSON output has them. A query that may have either is run once as JSON, and the rows, totals and
extremes are made into Native blocks from that one answer, so they always belong together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sql.server.engine import NATIVE, EngineSession, names_extremes, quote_string
from sql.server.http_output import json_in_order
from sql.server.protocol.blocks import Column, block_places, split
from sql.server.protocol.wire import Buffer, encode_string, parse_all
from sql.server.spool import Spool, SpoolBudget
from sql.server.statement import Statement

MAX_RESULT_BYTES = 64 << 20
# Every value must survive the way through JSON; a result that is too large is an error.
SETTINGS = {
    "output_format_json_quote_64bit_integers": "1",
    "output_format_json_quote_64bit_floats": "1",
    "output_format_json_quote_denormals": "1",
    "output_format_json_quote_decimals": "1",
    "output_format_json_named_tuples_as_objects": "1",
    "date_time_output_format": "simple",
    "max_result_bytes": str(MAX_RESULT_BYTES),
    "result_overflow_mode": "throw",
}
_EXTREMES = "extremes"


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
        one.upper == "WITH" and two.upper == "TOTALS"
        for one, two in zip(words, words[1:], strict=False)
    )
    return totals or names_extremes(statement) or settings.get(_EXTREMES, "0") not in ("0", "false")


async def read_whole(
    session: EngineSession,
    budget: SpoolBudget,
    sql: str,
    parameters: Mapping[str, str],
) -> Whole:
    """Run the query; SETTINGS must hold in the session. Raises ServerError."""
    spool = Spool(budget, MAX_RESULT_BYTES)
    try:
        # Into a file: without rows the engine gives no output, and the totals with it.
        clause = f"INTO OUTFILE {quote_string(spool.path)} APPEND FORMAT JSONCompact"
        await session.execute(f"{sql}\n{clause}", parameters=parameters)
        text = json_in_order(spool.read()).decode("utf-8", "surrogateescape")
    finally:
        spool.close()
    answer: dict[str, Any] = json.loads(text)
    columns = [(column["name"], column["type"]) for column in answer["meta"]]
    data = await _blocks(session, budget, columns, answer["data"])
    totals = extremes = None
    if "totals" in answer:
        totals = b"".join(await _blocks(session, budget, columns, [answer["totals"]]))
    if _EXTREMES in answer:
        both = [answer[_EXTREMES]["min"], answer[_EXTREMES]["max"]]
        extremes = b"".join(await _blocks(session, budget, columns, both))
    return Whole(columns, len(answer["data"]), data, totals, extremes)


async def _blocks(
    session: EngineSession,
    budget: SpoolBudget,
    columns: Sequence[Column],
    rows: Sequence[object],
) -> list[bytes]:
    """Rows as Native blocks with these columns."""
    if not rows:
        return []
    structure = ", ".join(f"c{number} {kind}" for number, (_, kind) in enumerate(columns))
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    spool = Spool(budget, 4 * MAX_RESULT_BYTES)
    try:
        spool.write(lines.encode("utf-8", "surrogateescape"))
        path, form = quote_string(spool.path), quote_string("JSONCompactEachRow")
        result = await session.execute(
            f"SELECT * FROM file({path}, {form}, {quote_string(structure)}, 'none') "
            "SETTINGS extremes = 0, input_format_parallel_parsing = 0, max_threads = 1",
            NATIVE,
        )
    finally:
        spool.close()
    return [_named(native, columns) for _, native in split(result.data)]


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
