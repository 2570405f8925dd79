"""Events that a person or program enters as JSON: read by the same rules as the API."""

from typing import Any

from ringlog.identifier import checked_id
from schemas.envelope import Event
from schemas.phone import e164
from schemas.text import from_json, time_fields
from schemas.times import checked_ms

_IDS = (
    "call_id", "task_id", "customer_id", "campaign_id", "pool", "robot_id", "merged_into",
)  # fmt: skip


def entered(topic_name: str, data: Any, region: str, zone: str = "") -> Event:
    """The event of JSON data, its number in E.164 form; raises ValueError that names the field.

    `region` is that of numbers without a country code, `zone` that of times without a zone.
    """
    if not isinstance(data, dict):
        raise ValueError("an event is a JSON object")
    data = dict(data)
    for name in time_fields(topic_name):
        if data.get(name) is not None:
            data[name] = _named(name, checked_ms, data[name], zone)
    for name in _IDS:
        if isinstance(data.get(name), str):
            _named(name, checked_id, data[name])
    if isinstance(data.get("phone"), str):
        data["phone"] = _named("phone", e164, data["phone"], region)
    return from_json(topic_name, data)


def _named(name: str, read: Any, *args: Any) -> Any:
    try:
        return read(*args)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
