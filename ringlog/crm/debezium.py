"""Debezium's change events, as its JSON converter writes them, with or without `schema`
(Debezium documentation, "Data change events")."""

from dataclasses import dataclass
from typing import Any

UNAVAILABLE = "__debezium_unavailable_value"
"""Stands for a long column that an update did not touch (`unavailable.value.placeholder`)."""

OPERATIONS = {"c": "upsert", "r": "upsert", "u": "upsert", "d": "delete"}
"""Create, read by a snapshot, update, delete."""

_POSITIONS = (
    ("lsn",),  # PostgreSQL
    ("file", "pos", "row"),  # MySQL and MariaDB: the row within its binlog event
    ("commit_lsn", "change_lsn", "event_serial_no"),  # SQL Server
)


class NotReadable(ValueError):
    """An envelope that lacks what it must have; the text says what."""


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row before and after. `is_snapshot` rows share one position."""

    operation: str
    server: str
    schema: str
    table: str
    position: str
    time_ms: int | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @property
    def is_snapshot(self) -> bool:
        """Whether it was read by a snapshot."""
        return self.operation == "r"


def payload_of(message: Any) -> Any:
    """The message without the converter's `schema`."""
    if isinstance(message, dict) and message.keys() == {"schema", "payload"}:
        return message["payload"]
    return message


def is_envelope(message: Any) -> bool:
    """Whether a message is an envelope of a row."""
    return isinstance(message, dict) and "op" in message and isinstance(message.get("source"), dict)


def is_transaction_mark(message: Any) -> bool:
    """Whether it is a BEGIN or END (`provide.transaction.metadata`)."""
    return (
        isinstance(message, dict)
        and message.get("status") in ("BEGIN", "END")
        and "op" not in message
        and {"id", "event_count", "data_collections"} <= message.keys()
    )


def row_change(envelope: dict[str, Any]) -> RowChange:
    """The change that an envelope tells; raises NotReadable."""
    source, operation = envelope["source"], envelope["op"]
    if not isinstance(operation, str) or operation not in OPERATIONS:
        raise NotReadable(f"operation {str(operation)[:20]!r} changes no row that we could follow")
    table = source.get("table")
    if not isinstance(table, str) or not table:
        raise NotReadable("source.table is missing")
    rows = {name: envelope.get(name) for name in ("before", "after")}
    for name, row in rows.items():
        if row is not None and not isinstance(row, dict):
            raise NotReadable(f"{name} is no object")
    if OPERATIONS[operation] == "upsert" and rows["after"] is None:
        raise NotReadable("after is missing")
    schema = source.get("schema") or source.get("db")
    return RowChange(
        operation=operation,
        server=_word(source.get("name")),
        schema=_word(schema),
        table=_word(table),
        position=_position(source),
        time_ms=next(
            (t for t in (source.get("ts_ms"), envelope.get("ts_ms")) if type(t) is int), None
        ),
        before=rows["before"],
        after=rows["after"],
    )


def _position(source: dict[str, Any]) -> str:
    for names in _POSITIONS:
        values = [source.get(name) for name in names]
        if values[0] not in (None, ""):
            return ":".join(map(_word, values))
    if source.get("snapshot") == "incremental" and source.get("ts_ms"):
        # A row that was read beside the log has no place of its own in it.
        return f"{_word(source.get('sequence'))}@{_word(source['ts_ms'])}"
    raise NotReadable("source has no position (lsn, or file and pos): a repeat could not be told")


def _word(value: Any) -> str:
    # Half of a surrogate pair is JSON, but no text.
    return "" if value is None else str(value)[:200].encode("utf-8", "ignore").decode()
