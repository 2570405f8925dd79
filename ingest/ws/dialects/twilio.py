"""Twilio Media Streams, bidirectional (`<Connect><Stream>`): JSON texts, sound in base64.

From Twilio: connected, start, media, dtmf, mark, stop; to it: media, mark, clear. Numbers are
strings. `sequenceNumber` counts all messages from 1, `chunk` those with sound: what is missing in
it leaves a hole. (Twilio's documentation, "Media Streams: WebSocket messages".)
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ingest.sound.types import PCMU, Format
from ingest.ws.dialects.base import (
    MAX_AUDIO_MS,
    SESSION_FIELDS,
    ControlMessage,
    Heard,
    Sound,
    Wanted,
    WsRefused,
    compact,
    digits_of,
    object_of,
    session_of,
)
from ringlog.metrics import RTP_PACKETS_DROPPED

MAX_TEXT: Final = 8_192
"""`start` carries up to 500 characters of parameters; a `media` of 100 ms has 1,100."""

HELLO: Final = "ringlog-hello"
"""Our first mark. Only a bidirectional stream sends it back."""

HELLO_MS: Final = 5_000
"""Sound after which a stream that has not sent it back is one-way, ms."""

ONE_WAY: Final = "this stream is one-way: use <Connect><Stream>, not <Start><Stream>"

LARGEST_NUMBER: Final = 2**53


class TwilioDialect:
    """One stream. `proven`: the handshake's signature was right."""

    little_endian = False
    max_text_bytes = MAX_TEXT
    max_audio_ms = MAX_AUDIO_MS
    gathers = False
    linger_s = 0.0

    def __init__(self, proven: bool, account_sid: str = "") -> None:
        """`account_sid`: the only account that is served; empty: any."""
        self.account_sid = account_sid
        self.call_sid = ""
        self.lost_messages = 0
        self._proven = proven
        self._only = account_sid
        self._stream_sid: str | None = None
        self._seq = 0
        self._chunk = 0
        self._heard_ms = 0.0
        self._greeted = False
        self._before = ""

    def take(self, message: str | bytes) -> Iterable[Heard]:
        """What a message holds; raises WsRefused."""
        if isinstance(message, bytes):
            raise WsRefused("Twilio sends no binary messages", 1003)
        data = object_of(message)
        event = data.get("event")
        if event == "connected":
            return ()
        if event == "start":
            return (self._started(data),)
        if self._stream_sid is None:
            raise WsRefused("the stream has not started")
        self._count(data)
        match event:
            case "media":
                return self._media(_part(data, "media"))
            case "dtmf":
                return (ControlMessage("dtmf", digits=digits_of(_part(data, "dtmf").get("digit"))),)
            case "mark":
                name = _part(data, "mark").get("name")
                if name == HELLO:
                    self._greeted = True
                    return ()
                return (ControlMessage("mark", name=name if isinstance(name, str) else ""),)
            case "stop":
                return (ControlMessage("hangup"),)
        return ()  # an event that Twilio has added since

    def _started(self, data: dict[str, Any]) -> Wanted:
        if self._stream_sid is not None:
            raise WsRefused("the stream has started already")
        start = _part(data, "start")
        stream_sid = start.get("streamSid", data.get("streamSid"))
        call_sid, account_sid = start.get("callSid"), start.get("accountSid")
        if not (isinstance(stream_sid, str) and isinstance(call_sid, str) and call_sid):
            raise WsRefused("start names no stream or call")
        if not isinstance(account_sid, str) or self._only not in ("", account_sid):
            raise WsRefused("another account's stream")
        if start.get("tracks") not in (["inbound"], None):
            raise WsRefused(ONE_WAY)
        form = start.get("mediaFormat")
        if not isinstance(form, dict) or form.get("encoding") != "audio/x-mulaw":
            raise WsRefused("the stream's encoding is not audio/x-mulaw")
        given = start.get("customParameters") or {}
        if not isinstance(given, dict):
            raise WsRefused("customParameters is no object")
        wanted = self._wanted(call_sid, given)
        self._stream_sid, self.call_sid, self.account_sid = stream_sid, call_sid, account_sid
        self._before = compact(
            {"event": "media", "streamSid": stream_sid, "media": {"payload": ""}}
        )
        self._before = self._before.removesuffix('"}}')
        self._count(data)
        return wanted

    def _wanted(self, call_sid: str, given: Mapping[str, object]) -> Wanted:
        """The call of `<Parameter>`s; its id is the call's SID where they name none."""
        call_id, token = given.get("call_id", call_sid), given.get("token", "")
        if not isinstance(call_id, str) or not isinstance(token, str):
            raise WsRefused("call_id and token are strings")
        fields = {name: value for name, value in given.items() if name in SESSION_FIELDS}
        session = session_of(call_id, "pcmu", fields) if fields else None
        return Wanted(call_id, None if self._proven else token, session)

    def _count(self, data: dict[str, Any]) -> None:
        seq = number_of(data.get("sequenceNumber"))
        if seq > self._seq:
            self.lost_messages += seq - self._seq - 1
            self._seq = seq

    def _media(self, media: dict[str, Any]) -> Iterable[Heard]:
        if media.get("track", "inbound") != "inbound":
            raise WsRefused(ONE_WAY)
        chunk = number_of(media.get("chunk"))
        if chunk <= self._chunk:
            RTP_PACKETS_DROPPED.labels("duplicate").inc()
            return ()
        sound = sound_of(media.get("payload"))
        lost, self._chunk = chunk - self._chunk - 1, chunk
        self._heard_ms += len(sound) / 8
        if not self._greeted and self._heard_ms > HELLO_MS:
            raise WsRefused(ONE_WAY)
        return (Sound(sound, lost),)

    def opened(self, sound: Format) -> Iterable[str | bytes]:
        """A first mark, to see whether the stream has a way back."""
        if sound != PCMU:
            raise WsRefused("Twilio's sound is pcmu, and the session's is not")
        word = self.word(ControlMessage("mark", name=HELLO))
        return () if word is None else (word,)

    def refused(self, reason: str, retry_after_s: float | None = None) -> str | None:
        """Twilio takes no such message."""
        return None

    def sound(self, frame: bytes) -> str:
        """20 ms of PCMU."""
        return f'{self._before}{base64.b64encode(frame).decode()}"}}}}'

    def word(self, message: ControlMessage) -> str | None:
        """Marks and clear. Keys cannot be sent, and the call ends by Twilio's REST API."""
        match message.type:
            case "clear":
                return compact({"event": "clear", "streamSid": self._stream_sid})
            case "mark":
                return compact(
                    {"event": "mark", "streamSid": self._stream_sid, "mark": {"name": message.name}}
                )
            case "dtmf" | "hangup" | "reconnect":
                return None


def sound_of(payload: object) -> bytes:
    """Sound in base64; raises WsRefused."""
    try:
        if isinstance(payload, str) and payload:
            return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise WsRefused("payload is not base64", 1007)


def number_of(found: object) -> int:
    """A count that Twilio writes as a string; raises WsRefused."""
    if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < LARGEST_NUMBER:
        return found
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) <= 15:
        return int(found)
    raise WsRefused("sequenceNumber or chunk is no number")


def _part(data: dict[str, Any], name: str) -> dict[str, Any]:
    part = data.get(name)
    if not isinstance(part, dict):
        raise WsRefused(f"{name} is no object")
    return part
