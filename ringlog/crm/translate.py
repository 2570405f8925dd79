"""`translate(message, mapping)`: the changes that one message of a CRM tells. Pure.

Ids come from where the change lies in its source, so a message that comes again gives the same
events. A field that a message does not have stays as it was; one that is null or empty there is
listed in `cleared`.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ValidationError

from ringlog.crm import debezium
from ringlog.crm.mapping import Mapping, MessageMapping, RowMapping, Take
from ringlog.crm.money import MOST, minor_of
from ringlog.identifier import checked_id
from schemas import ids
from schemas.events import CustomerChange
from schemas.events.customers import VOID

PRODUCER = "crm"
MAX_BODY_BYTES = 262_144
"""Longest message."""

MAX_ID, MAX_LIST, MAX_TEXT = 128, 256, 4_096
"""Longest customer id, tags in a list, and longest text, in characters."""

DAY_MS = 86_400_000
_YEAR_10000_MS = 253_402_300_800_000
_SECONDS_UNTIL = 100_000_000_000
"""A smaller number is a time in seconds: as milliseconds it would lie before 1973-03."""


@dataclass(frozen=True, slots=True)
class CrmMessage:
    """A message as it came. `received_ms` is the time of a change that names none."""

    body: bytes
    received_ms: int
    message_id: str | None = None
    timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Nobody can do anything with the message; the reason names no value of it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A good message that says nothing about a customer."""

    reason: str


Translation = tuple[CustomerChange, ...] | Ignored | Rejected


class _Refusal(ValueError):
    pass


class _Absent:
    pass


_ABSENT = _Absent()


def translate(message: CrmMessage, mapping: Mapping, tenant_id: str = "default") -> Translation:
    """The changes of a message, in order; `tenant_id` is whose they are unless the mapping says."""
    if not message.body:
        return Ignored("tombstone")
    if len(message.body) > MAX_BODY_BYTES:
        return Rejected(f"longer than {MAX_BODY_BYTES} bytes")
    try:
        content = debezium.payload_of(_json(message.body))
        if content is None:
            return Ignored("tombstone")
        if debezium.is_transaction_mark(content):
            return Ignored("transaction mark")
        if debezium.is_envelope(content):
            return _row(content, message, mapping, tenant_id)
        return _plain(content, message, mapping, tenant_id)
    except (_Refusal, debezium.NotReadable) as refusal:
        return Rejected(str(refusal))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return Rejected(f"{'.'.join(str(p) for p in first['loc'])}: {first['msg']}"[:300])


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise _Refusal("nested too deeply") from None
    except UnicodeDecodeError:
        raise _Refusal("not UTF-8") from None
    except ValueError as error:  # JSONDecodeError, or an integer of too many digits
        raise _Refusal(f"not JSON: {str(error)[:100]}") from None


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    """Numbers beyond all floats would be one and the same, also as the ids of two messages."""
    if math.isinf(number := float(text)):
        raise ValueError("a number is too large")
    return number


def _row(
    content: dict[str, Any], message: CrmMessage, mapping: Mapping, tenant_id: str
) -> Translation:
    if content["op"] == "m":
        return Ignored("a message within the source's log")
    change = debezium.row_change(content)
    fields = mapping.table(change.schema, change.table)
    if fields is None:
        return Ignored(f"table {change.table[:64]} is not mapped")
    made = _Maker(
        mapping.source, mapping.currency, tenant_id, _row_id(change, mapping), change.position,
        _time(change.time_ms, message), change.table,
    )  # fmt: skip
    if debezium.OPERATIONS[change.operation] == "delete":
        if fields.deletes == "ignore":
            return Ignored("a deleted row that is no customer")
        return (made.gone(fields, change.before or {}),)
    after = change.after or {}
    events = [made.upserted(fields, after)]
    if change.before is not None and fields.deletes == "customer":
        was = _value(fields.customer_id, change.before)
        if was not in (_ABSENT, None) and was != _value(fields.customer_id, after):
            events.insert(0, made.gone(fields, change.before))
    return tuple(events)


def _row_id(change: debezium.RowChange, mapping: Mapping) -> str:
    """What names the change: rows of one snapshot share their position."""
    parts = [mapping.source, change.server, change.schema, change.table, change.position]
    if change.is_snapshot:
        row = json.dumps(change.after, sort_keys=True, ensure_ascii=False)
        parts.append(hashlib.sha256(row.encode("utf-8", "surrogatepass")).hexdigest())
    return "|".join(["crm", *parts, change.operation])


def _plain(content: Any, message: CrmMessage, mapping: Mapping, tenant_id: str) -> Translation:
    if not isinstance(content, dict):
        raise _Refusal("no object")
    fields = next((m for m in mapping.messages if _holds(m, content)), None)
    if fields is None:
        raise _Refusal("no entry of `messages` in the mapping holds for it")
    named = [_text(_at(tuple(path.split(".")), content), path) for path in fields.id]
    if not all(named):
        raise _Refusal(f"{' or '.join(fields.id)} is empty, and so the message has no id")
    name = "|".join(named) or message.message_id
    if not name:
        raise _Refusal("it has no id: set message-id, or map `id`, or a repeat could not be told")
    name = name[:512]
    at = None if fields.time is None else _at(tuple(fields.time.split(".")), content)
    made = _Maker(
        mapping.source, mapping.currency, tenant_id, f"crm|{mapping.source}|message|{name}", name,
        _time(None if at in (_ABSENT, None) else _millis(at, fields.time or ""), message), None,
    )  # fmt: skip
    maker = {"delete": made.deleted, "merge": made.merged, "upsert": made.upserted}[fields.change]
    return (maker(fields, content),)


def _holds(mapping: MessageMapping, content: dict[str, Any]) -> bool:
    return all(_same(_at(tuple(p.split(".")), content), want) for p, want in mapping.when.items())


def _same(found: Any, want: str | int | bool) -> bool:
    return type(found) is type(want) and found == want


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the events of one message. `currency` is that of amounts that name none."""

    source: str
    currency: str
    tenant_id: str
    name: str
    position: str
    time_ms: int
    table: str | None

    def deleted(self, fields: RowMapping | MessageMapping, row: dict[str, Any]) -> CustomerChange:
        return self._event("deleted", fields, row, {}, [])

    def gone(self, fields: RowMapping, row: dict[str, Any]) -> CustomerChange:
        """A row is gone: its customer, or its order or payment."""
        if fields.fact is None:
            return self.deleted(fields, row)
        return self._event(fields.fact, fields, row, self._fact(fields, row, VOID), [])

    def merged(self, fields: MessageMapping, row: dict[str, Any]) -> CustomerChange:
        into = None if fields.into is None else _identifier(fields.into, row, "into")
        return self._event("merged", fields, row, {"merged_into": into}, [])

    def upserted(self, fields: RowMapping | MessageMapping, row: dict[str, Any]) -> CustomerChange:
        given: dict[str, Any] = {}
        attributes: dict[str, str] = {}
        cleared: list[str] = []
        for name, convert in _CONVERTED.items():
            take: Take | None = getattr(fields, name)
            if take is None or (value := _value(take, row)) is _ABSENT:
                continue
            converted = None if value is None else convert(value, name)
            if converted is None or converted in ("", []):
                cleared.append(name)
            else:
                given[name] = converted
        for name, take in fields.attributes.items():
            if (value := _value(take, row)) is _ABSENT:
                continue
            text = "" if value is None else _text(value, name)
            if text:
                attributes[name] = text
            else:
                cleared.append(name)
        given["attributes"] = attributes
        if fields.fact is None:
            return self._event("upserted", fields, row, given, cleared)
        return self._event(fields.fact, fields, row, given | self._fact(fields, row), cleared)

    def _fact(
        self, fields: RowMapping | MessageMapping, row: dict[str, Any], status: str | None = None
    ) -> dict[str, Any]:
        """What a row or message tells of its order or payment."""

        def text(name: str) -> str | None:
            take: Take | None = getattr(fields, name)
            value = _ABSENT if take is None else _value(take, row)
            return None if value is _ABSENT or value is None else _text(value, name) or None

        def time(name: str) -> int | None:
            take: Take | None = getattr(fields, name)
            value = _ABSENT if take is None else _value(take, row)
            if take is None or value in (_ABSENT, None, ""):
                return None
            return _millis(_in_ms(value, take), name)

        record_id = text("record_id")
        if record_id is None:
            raise _Refusal("record_id is empty, and so the order or payment has no id")
        currency = (text("currency") or self.currency).upper()
        amount, minor = text("amount"), text("amount_minor")
        try:
            amount_minor = minor_of(amount, currency) if amount is not None else None
        except ValueError as error:
            raise _Refusal(f"amount: {error}") from None
        if amount is None and minor is not None:
            amount_minor = _minor(minor)
        return {
            "record_id": record_id[:MAX_ID],
            "amount_minor": amount_minor,
            "currency": currency,
            "made_at": time("made_at"),
            "due_at": time("due_at"),
            "status": status or text("status"),
        }

    def _event(
        self,
        kind: Literal["upserted", "deleted", "order", "payment", "merged"],
        fields: RowMapping | MessageMapping,
        row: dict[str, Any],
        given: dict[str, Any],
        cleared: list[str],
    ) -> CustomerChange:
        customer_id = _identifier(fields.customer_id, row, "customer_id")
        tenant = self.tenant_id
        if fields.tenant_id is not None and _value(fields.tenant_id, row) is not _ABSENT:
            tenant = _identifier(fields.tenant_id, row, "tenant_id")
        return CustomerChange(
            event_id=ids.root_id(self.name, kind, customer_id),
            kind=kind,
            occurred_at=self.time_ms,
            producer=PRODUCER,
            causation_id=self.name,
            tenant_id=tenant,
            customer_id=customer_id,
            source=self.source,
            table=self.table,
            position=self.position,
            cleared=cleared,
            **given,
        )


def _at(keys: Iterable[str], content: Any) -> Any:
    for key in keys:
        if isinstance(content, dict) and key in content:
            content = content[key]
        elif isinstance(content, list) and key.isascii() and key.isdigit() and len(key) < 6:
            if int(key) >= len(content):
                return _ABSENT
            content = content[int(key)]
        else:
            return _ABSENT
    return _ABSENT if content in (debezium.UNAVAILABLE, [debezium.UNAVAILABLE]) else content


def _value(take: Take, row: dict[str, Any]) -> Any:
    """The value as mapped: None where it is null, `_ABSENT` where the row does not have it."""
    value = _at(take.keys, row)
    if value is _ABSENT or value is None:
        return value
    if take.split is not None and isinstance(value, str):
        value = value.split(take.split)
    if isinstance(value, list):
        return [_mapped(take, item) for item in value]
    return _mapped(take, value)


def _mapped(take: Take, value: Any) -> Any:
    if not take.values and not take.prefix:
        return value
    text = _text(value, take.path)
    text = take.values.get(text, text)
    return f"{take.prefix}{text}" if text else text


def _identifier(take: Take, row: dict[str, Any], name: str) -> str:
    value = _value(take, row)
    if value is _ABSENT or value is None:
        raise _Refusal(f"{take.path} is missing, and so is {name}")
    text = _text(value, name)
    if not text or len(text) > MAX_ID:
        raise _Refusal(f"{name}: want 1 to {MAX_ID} characters")
    try:
        return checked_id(text)
    except ValueError as error:
        raise _Refusal(f"{name}: {error}") from None


def _text(value: Any, name: str) -> str:
    """A scalar as text, without surrounding blanks and characters that no text has."""
    match value:
        case _Absent():
            raise _Refusal(f"{name} is missing")
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str():
            text = value.strip()
            if len(text) > MAX_TEXT:
                raise _Refusal(f"{name}: longer than {MAX_TEXT} characters")
            # Half of a surrogate pair is JSON, but no text.
            return text.replace("\0", "").encode("utf-8", "ignore").decode()
    raise _Refusal(f"{name}: want a text or a number")


def _list(value: Any, name: str) -> list[str]:
    items = value if isinstance(value, list) else [value]
    if len(items) > MAX_LIST:
        raise _Refusal(f"{name}: more than {MAX_LIST} of them")
    return list(dict.fromkeys(filter(None, (_text(item, name) for item in items))))


def _count(value: Any, name: str) -> int | None:
    text = _text(value, name)
    if not text:
        return None
    digits = text.removesuffix(".0").removesuffix(".00")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise _Refusal(f"{name}: want a whole number from 0 to 999999999")
    return int(digits)


def _minor(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < len(str(MOST))):
        raise _Refusal("amount_minor: want a whole number, such as 1250")
    return int(text)


_CONVERTED: dict[str, Callable[[Any, str], Any]] = {
    "name": _text, "phone": _text, "level": _text, "tags": _list, "purchases": _count,
}  # fmt: skip


def _time(time_ms: int | None, message: CrmMessage) -> int:
    """When it was changed. No later than it came: a clock that is ahead would else keep all other
    sources from changing the field."""
    for candidate in (time_ms, message.timestamp_ms):
        if candidate is not None and 0 <= candidate < _YEAR_10000_MS:
            return min(candidate, message.received_ms)
    return message.received_ms


def _in_ms(value: Any, take: Take) -> Any:
    """A whole number of the unit that the mapping names; anything else as it is."""
    if not isinstance(value, int) or isinstance(value, bool) or take.unit is None:
        return value
    at = value * DAY_MS if take.unit == "days" else value // 1000
    # `_millis` would take a small number for seconds.
    return datetime.fromtimestamp(at / 1000, UTC).isoformat() if 0 <= at < _YEAR_10000_MS else at


def _millis(value: Any, name: str) -> int:
    """Milliseconds since 1970 of a number of seconds or milliseconds, or of ISO 8601 with zone."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) < _YEAR_10000_MS:
            raise _Refusal(f"{name}: no time")
        return round(value if abs(value) >= _SECONDS_UNTIL else value * 1000)
    try:
        at = datetime.fromisoformat(_text(value, name))
        if at.tzinfo is None:
            raise _Refusal(f"{name}: the time names no zone")
        return round(at.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        if isinstance(error, _Refusal):
            raise
        raise _Refusal(f"{name}: want seconds, milliseconds, or ISO 8601") from None
