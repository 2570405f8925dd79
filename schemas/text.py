"""Events as JSON text: what `tail` prints, `produce` reads, and the live WebSocket sends.

Times are ISO 8601 in UTC with milliseconds, bytes are base64; both ways, and milliseconds as a
number are understood too.
"""

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from schemas.catalogue import topic
from schemas.envelope import Event, Logical

_YEAR_10000_MS = 253_402_300_800_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso_of_ms(ms: int) -> str:
    """2026-01-31T09:00:00.123Z for milliseconds since 1970."""
    at = _EPOCH + timedelta(milliseconds=ms)
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def ms_of(value: str | int) -> int:
    """Milliseconds since 1970 of ISO 8601 text (UTC where it names no zone) or of a number;
    raises ValueError.

    For our own text; times of requests are read by `schemas.times`.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"not a time: {value!r}")
    if isinstance(value, int):
        return value
    at = datetime.fromisoformat(value)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return round((at - _EPOCH) / timedelta(milliseconds=1))


def to_json(topic_name: str, event: Event | dict[str, Any]) -> dict[str, Any]:
    """An event as JSON data."""
    record = event.model_dump() if isinstance(event, Event) else dict(event)
    times, blobs = _special(topic_name)
    for name in times:
        if record.get(name) is not None and 0 <= record[name] < _YEAR_10000_MS:
            record[name] = iso_of_ms(record[name])
    for name in blobs:
        if record.get(name) is not None:
            record[name] = base64.b64encode(record[name]).decode()
    return record


def to_line(topic_name: str, event: Event | dict[str, Any]) -> str:
    """An event as one line of JSON."""
    return json.dumps(to_json(topic_name, event), ensure_ascii=False, separators=(",", ":"))


def to_tail(topic_name: str, partition: int, offset: int, event: Event) -> dict[str, Any]:
    """An event as JSON data with where it lies, as `tail` and the live WebSocket show it."""
    where = {"topic": topic_name, "partition": partition, "offset": offset}
    return where | to_json(topic_name, event)


def from_json(topic_name: str, data: Any) -> Event:
    """The event of JSON data; raises ValueError (pydantic's ValidationError is one).

    Ignores the fields that `to_tail` adds, so that tailed lines can be produced again.
    """
    if not isinstance(data, dict):
        raise ValueError("an event is a JSON object")
    data = {k: v for k, v in data.items() if k not in ("topic", "partition", "offset")}
    times, blobs = _special(topic_name)
    for name in times:
        if data.get(name) is not None:
            data[name] = ms_of(data[name])
    for name in blobs:
        if isinstance(data.get(name), str):
            try:
                data[name] = base64.b64decode(data[name], validate=True)
            except ValueError as error:
                raise ValueError(f"{name}: not base64: {error}") from None
    return topic(topic_name).model.model_validate(data)


def time_fields(topic_name: str) -> tuple[str, ...]:
    """Names of a topic's fields that are times."""
    return _special(topic_name)[0]


@lru_cache(maxsize=64)
def _special(topic_name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the time fields and of the bytes fields of a topic."""
    times, blobs = [], []
    for name, info in topic(topic_name).model.model_fields.items():
        marks = list(info.metadata)
        for arg in getattr(info.annotation, "__args__", ()):
            marks += getattr(arg, "__metadata__", ())
        if any(isinstance(m, Logical) and m.name == "timestamp-millis" for m in marks):
            times.append(name)
        elif info.annotation is bytes:
            blobs.append(name)
    return tuple(times), tuple(blobs)
