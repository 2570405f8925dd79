"""Reads ARI's JSON: events and lists of channels. Pure; a message is read, passed over or refused.

https://docs.asterisk.org/Latest_API/API_Documentation/Asterisk_REST_Interface/
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

MAX_EVENT_BYTES: Final = 262_144
"""Longest event. Channel variables make events long; a larger one is not of our calls."""

MAX_TEXT: Final = 512
"""Longest name, number or argument that is kept."""

MAX_ARGS: Final = 16

ECHO: Final = "ringlog-echo"
"""Name of the event that we send to ourselves through Asterisk."""

EventKind = Literal[
    "entered", "left", "ringing", "early_media", "up", "dtmf", "hangup_asked", "destroyed",
    "replaced", "echo", "device",
]  # fmt: skip


class AriMalformed(ValueError):
    """The text is no message of ARI."""


@dataclass(frozen=True, slots=True)
class AriChannel:
    """A channel as it was when Asterisk wrote of it. `state` as in ARI: Down, Ringing, Up, …"""

    id: str
    name: str = ""
    state: str = ""
    caller: str = ""
    exten: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AriEvent:
    """What concerns a call, or the `state` of a `device`. `key` names a key press; `cause` is
    Q.850, `tech_cause` SIP."""

    kind: EventKind
    channel: AriChannel = AriChannel("")
    args: tuple[str, ...] = ()
    digit: str = ""
    key: str = ""
    cause: int | None = None
    tech_cause: int | None = None
    soft: bool = False
    device: str = ""
    state: str = ""


class AriBridge(NamedTuple):
    """A bridge and the ids of its channels."""

    id: str
    channels: tuple[str, ...]


_DIALLED: Final[Mapping[str, EventKind]] = {
    "RINGING": "ringing",
    "PROGRESS": "early_media",
    "ANSWER": "up",
}
_STATES: Final[Mapping[str, EventKind]] = {"Ringing": "ringing", "Up": "up"}
_KEYS: Final = frozenset("0123456789*#ABCD")


def parse_ari(text: str | bytes) -> AriEvent | None:
    """The event in a message; None when it concerns no call of ours. Raises AriMalformed."""
    if len(text) > MAX_EVENT_BYTES:
        raise AriMalformed("an event is too long")
    data = _object(_json(text))
    kind = data.get("type")
    match kind:
        case "StasisStart":
            return AriEvent("entered", _channel(data.get("channel")), _args(data.get("args")))
        case "StasisEnd":
            return AriEvent("left", _channel(data.get("channel")))
        case "ChannelStateChange":
            channel = _channel(data.get("channel"))
            state = _STATES.get(channel.state)
            return None if state is None else AriEvent(state, channel)
        case "Dial":
            status = _DIALLED.get(_text(data.get("dialstatus")))
            return None if status is None else AriEvent(status, _channel(data.get("peer")))
        case "ChannelDtmfReceived":
            digit = _text(data.get("digit"))
            if digit not in _KEYS:
                return None
            key = f"{_text(data.get('timestamp'))}.{digit}"
            return AriEvent("dtmf", _channel(data.get("channel")), digit=digit, key=key)
        case "ChannelHangupRequest" | "ChannelDestroyed":
            return AriEvent(
                "destroyed" if kind == "ChannelDestroyed" else "hangup_asked",
                _channel(data.get("channel")),
                cause=_number(data.get("cause"), 127),
                tech_cause=_number(data.get("tech_cause"), 699),
                soft=data.get("soft") is True,
            )
        case "ChannelUserevent" if data.get("eventname") == ECHO:
            return AriEvent("echo")
        case "ApplicationReplaced":
            return AriEvent("replaced")
        case "DeviceStateChanged":
            device = parse_device(data.get("device_state"))
            return AriEvent("device", device=device[0], state=device[1])
        case _:
            return None


def parse_channel(data: object) -> AriChannel:
    """A channel of an answer; raises AriMalformed."""
    return _channel(data)


def parse_channels(data: object) -> Iterator[AriChannel]:
    """The channels of `GET /channels`; raises AriMalformed."""
    for item in _list(data):
        yield _channel(item)


def parse_bridges(data: object) -> Iterator[AriBridge]:
    """The bridges of `GET /bridges`; raises AriMalformed."""
    for item in _list(data):
        bridge = _object(item)
        channels = tuple(_text(name) for name in _list(bridge.get("channels", [])))
        yield AriBridge(_text(bridge.get("id")), channels)


def parse_device(data: object) -> tuple[str, str]:
    """Name and state of a device, for instance `UNAVAILABLE`; raises AriMalformed."""
    device = _object(data)
    return _text(device.get("name")), _text(device.get("state"))


def parse_ids(data: object, key: str) -> tuple[str, ...]:
    """A list of ids in an object, for instance `channel_ids`; raises AriMalformed."""
    return tuple(_text(name) for name in _list(_object(data).get(key, [])))


def _json(text: str | bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise AriMalformed("not JSON") from None


def _object(data: object) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise AriMalformed("not a JSON object")
    return data


def _list(data: object) -> list[Any]:
    if not isinstance(data, list):
        raise AriMalformed("not a JSON array")
    return data


def _channel(data: object) -> AriChannel:
    found = _object(data)
    caller, plan = found.get("caller"), found.get("dialplan")
    variables = found.get("channelvars")
    return AriChannel(
        _text(found.get("id")),
        _text(found.get("name")),
        _text(found.get("state")),
        _text(caller.get("number")) if isinstance(caller, dict) else "",
        _text(plan.get("exten")) if isinstance(plan, dict) else "",
        {k[:MAX_TEXT]: _text(v) for k, v in variables.items()}
        if isinstance(variables, dict)
        else {},
    )


def _text(data: object) -> str:
    return data[:MAX_TEXT] if isinstance(data, str) else ""


def _args(data: object) -> tuple[str, ...]:
    return tuple(_text(x) for x in data[:MAX_ARGS]) if isinstance(data, list) else ()


def _number(data: object, most: int) -> int | None:
    if isinstance(data, bool) or not isinstance(data, int) or not 0 <= data <= most:
        return None
    return data
