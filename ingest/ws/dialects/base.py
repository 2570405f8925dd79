"""What a dialect of the media WebSocket is: one peer's way to say sound, keys, marks and ends.

A dialect knows no socket and no clock. The server gives it every message, with limits on length and
number; it returns what the message holds, and turns our frames and words into messages. One
object serves one connection, so it may count. Peers are not trusted: a message is understood,
passed over or refused, never a crash.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from pydantic import ValidationError

from ingest.rtp.packet import EVENT_DIGITS
from ingest.sound.types import Format
from ringlog.media_session import MediaSessionRequest

MAX_TEXT_BYTES: Final = 1024
"""Longest text of a dialect whose sound is binary."""

MAX_AUDIO_MS: Final = 100
"""Most sound in one message, unless the dialect says otherwise."""

MAX_DIGITS: Final = 64

SESSION_FIELDS: Final = frozenset(
    {"customer_id", "campaign_id", "playbook", "asr_profile", "pool", "robot_id", "tenant_id",
     "phone"}
)  # fmt: skip
"""Fields of a session that a message may give."""

MessageType = Literal["dtmf", "clear", "mark", "hangup", "reconnect"]


class WsRefused(Exception):
    """The peer breaks the protocol; the text is the reason. `code` is the close code (RFC 6455)."""

    def __init__(self, reason: str, code: int = 1008) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class ControlMessage:
    """A key press, a mark, the end. `reconnect` is only ours: another edge takes over."""

    type: MessageType
    digits: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Sound:
    """Sound in the session's codec; `lost` frames of 20 ms are missing just before it."""

    payload: bytes
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the protocol answers by itself, for instance to a ping."""

    message: str | bytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """The call that a connection is for, when a message names it and not the URL.

    `token` is the call's secret; None where the handshake has proved who connects. `session` is
    opened when no call has this id; without it the call must exist.
    """

    call_id: str
    token: str | None
    session: MediaSessionRequest | None = None


Heard = Sound | ControlMessage | Reply | Wanted
"""What a message may hold."""


class Dialect(Protocol):
    """One connection's dialect."""

    @property
    def little_endian(self) -> bool:
        """Whether L16 has its low octet first; RTP and our own dialect have the high one first."""
        ...

    @property
    def max_text_bytes(self) -> int:
        """Longest text message that the peer may send, octets."""
        ...

    @property
    def max_audio_ms(self) -> int:
        """Most sound that one message may hold, ms."""
        ...

    @property
    def gathers(self) -> bool:
        """Whether one message carries several frames: then lone frames of silence, which only keep
        a line alive, are not sent."""
        ...

    @property
    def linger_s(self) -> float:
        """How long after our word of the end the peer may still close the connection itself, s."""
        ...

    def take(self, message: str | bytes) -> Iterable[Heard]:
        """What a peer's message holds, in order; nothing when it is passed over.

        Raises WsRefused. Only a dialect behind a door (`doors`) gives `Wanted`, once.
        """
        ...

    def opened(self, sound: Format) -> Iterable[str | bytes]:
        """What we say when the call is known, before any sound.

        Raises WsRefused when the peer cannot carry the session's sound.
        """
        ...

    def refused(self, reason: str, retry_after_s: float | None = None) -> str | None:
        """Our text before we close a connection whose call there is not, or not now."""
        ...

    def sound(self, frame: bytes) -> str | bytes | None:
        """The message that carries 20 ms of sound; None while the dialect gathers more."""
        ...

    def word(self, message: ControlMessage) -> str | bytes | None:
        """Our message for a word; None when the dialect has none."""
        ...


class BinaryDialect:
    """Base of the dialects whose sound is binary and whose calls the URL names."""

    little_endian = False
    max_text_bytes = MAX_TEXT_BYTES
    max_audio_ms = MAX_AUDIO_MS
    gathers = False
    linger_s = 0.0

    def take(self, message: str | bytes) -> Iterable[Heard]:
        """Binary messages are sound; texts are `parse`d."""
        if isinstance(message, bytes):
            return (Sound(message),)
        control = self.parse(message)
        return () if control is None else (control,)

    def parse(self, text: str) -> ControlMessage | None:
        """The message in a peer's text; None when it is to be ignored. Raises WsRefused. Here texts
        mean nothing; a dialect that has some reads them."""
        return None

    def opened(self, sound: Format) -> Iterable[str | bytes]:
        """Nothing: the handshake has said it all."""
        return ()

    def refused(self, reason: str, retry_after_s: float | None = None) -> str | None:
        """Nothing: the close code and its reason say it."""
        return None

    def sound(self, frame: bytes) -> str | bytes | None:
        """The frame is the message."""
        return frame


def digits_of(found: object) -> str:
    """Keys that a peer names; raises WsRefused."""
    if not isinstance(found, str) or not 0 < len(found) <= MAX_DIGITS:
        raise WsRefused("dtmf needs digits")
    if any(d not in EVENT_DIGITS for d in found):
        raise WsRefused("dtmf has digits other than 0-9 * # A-D")
    return found


def session_of(call_id: str, codec: str, fields: Mapping[str, object]) -> MediaSessionRequest:
    """The session that a message wants; raises WsRefused naming the field that is wrong."""
    try:
        return MediaSessionRequest.model_validate({"call_id": call_id, "codec": codec, **fields})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WsRefused(f"{where}: {first['msg']}") from None


def object_of(text: str) -> dict[str, Any]:
    """A JSON object; raises WsRefused."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise WsRefused("text message is not JSON", 1007) from None
    if not isinstance(data, dict):
        raise WsRefused("text message is not a JSON object", 1007)
    return data


def compact(data: dict[str, Any]) -> str:
    """A JSON object without white space."""
    return json.dumps(data, separators=(",", ":"))
