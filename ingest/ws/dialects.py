"""Text messages of a media WebSocket, by sub-protocol (RFC 6455 section 1.9).

Sound is binary in all of them. A dialect parses the peer's text and formats ours; a new telephone
system needs one more class and one more line in `DIALECTS`. Our own dialect is the default. Texts
come from outside: they are limited in length, and each is understood, ignored or refused, never a
crash.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from ingest.rtp.packet import EVENT_DIGITS

MAX_TEXT_BYTES: Final = 1024
MAX_DIGITS: Final = 64

MessageType = Literal["dtmf", "clear", "mark", "hangup"]


class WsRefused(Exception):
    """The peer breaks the protocol; the text is the reason. `code` is the close code (RFC 6455)."""

    def __init__(self, reason: str, code: int = 1008) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class ControlMessage:
    """One text message that means something to us."""

    type: MessageType
    digits: str = ""
    name: str = ""


class Dialect(Protocol):
    """One dialect."""

    @property
    def little_endian(self) -> bool:
        """Whether L16 has its low octet first; RTP and our own dialect have the high one first."""
        ...

    def parse(self, text: str) -> ControlMessage | None:
        """The message in a peer's text; None when it is to be ignored. Raises WsRefused."""
        ...

    def word(self, message: ControlMessage) -> str | None:
        """Our text for a message; None when the dialect has none."""
        ...


def digits_of(found: object) -> str:
    """Keys that a peer names; raises WsRefused."""
    if not isinstance(found, str) or not 0 < len(found) <= MAX_DIGITS:
        raise WsRefused("dtmf needs digits")
    if any(d not in EVENT_DIGITS for d in found):
        raise WsRefused("dtmf has digits other than 0-9 * # A-D")
    return found


def _object_of(text: str) -> dict[str, Any]:
    """A JSON object; raises WsRefused."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise WsRefused("text message is not JSON", 1007) from None
    if not isinstance(data, dict):
        raise WsRefused("text message is not a JSON object", 1007)
    return data


class OwnDialect:
    """JSON objects: `{"type": "dtmf", "digits": "42#"}`, `clear`, `hangup`, `mark` with a name."""

    little_endian = False

    def parse(self, text: str) -> ControlMessage:
        """The message; raises WsRefused."""
        data = _object_of(text)
        kind = data.get("type")
        match kind:
            case "dtmf":
                return ControlMessage(
                    "dtmf", digits=digits_of(data.get("digits", data.get("digit")))
                )
            case "mark":
                name = data.get("name")
                if not isinstance(name, str):
                    raise WsRefused("mark needs a name")
                return ControlMessage("mark", name=name)
            case "clear" | "hangup":
                return ControlMessage(kind)
        raise WsRefused("unknown type of message")

    def word(self, message: ControlMessage) -> str:
        """A JSON object without white space."""
        data: dict[str, str] = {"type": message.type}
        if message.digits:
            data["digits"] = message.digits
        if message.name:
            data["name"] = message.name
        return json.dumps(data, separators=(",", ":"))


class AsteriskDialect:
    """Asterisk's chan_websocket, plain text or JSON: `DTMF_END digit:5`, `MEDIA_START …`.

    Its other events concern its own queue and are ignored. L16 is in the host's order there.
    """

    little_endian = True

    def parse(self, text: str) -> ControlMessage | None:
        """The message of an event; raises WsRefused for an invalid key."""
        if text.lstrip().startswith("{"):
            data = _object_of(text)
            event, digit = data.get("event"), data.get("digit")
            name = data.get("correlation_id")
        else:
            event, *fields = text.split() or [""]
            told = dict(f.partition(":")[::2] for f in fields)
            digit, name = told.get("digit"), told.get("correlation_id")
        if event == "DTMF_END":
            return ControlMessage("dtmf", digits=digits_of(digit))
        if event == "MEDIA_MARK_PROCESSED":
            return ControlMessage("mark", name=name if isinstance(name, str) else "")
        return None

    def word(self, message: ControlMessage) -> str | None:
        """Its commands; keys cannot be sent to it."""
        match message.type:
            case "clear":
                return "FLUSH_MEDIA"
            case "mark":
                return f"MARK_MEDIA {message.name}"
            case "hangup":
                return "HANGUP"
            case "dtmf":
                return None


class DrachtioDialect:
    """FreeSWITCH's mod_audio_fork: any JSON from it, `killAudio` and `disconnect` to it.

    Its first text is the metadata that the dial plan gives; L16 has its low octet first.
    """

    little_endian = True

    def parse(self, text: str) -> ControlMessage | None:
        """Keys as jambonz sends them; raises WsRefused for an invalid key."""
        try:
            data = _object_of(text)
        except WsRefused:
            return None  # metadata is whatever the dial plan says
        if data.get("event") == "dtmf":
            return ControlMessage("dtmf", digits=digits_of(data.get("dtmf")))
        return None

    def word(self, message: ControlMessage) -> str | None:
        """Its commands; it knows neither marks nor keys."""
        match message.type:
            case "clear":
                return '{"type":"killAudio"}'
            case "hangup":
                return '{"type":"disconnect"}'
            case "mark" | "dtmf":
                return None


OWN: Final = OwnDialect()

DIALECTS: Final[dict[str, Dialect]] = {
    "ringlog": OWN,
    "media": AsteriskDialect(),
    "audio.drachtio.org": DrachtioDialect(),
}
"""Sub-protocols that a peer may offer."""


def choose(offered: list[str]) -> str | None:
    """The first offered sub-protocol that we speak; None when none was offered.

    Raises WsRefused when we speak none of them: a peer that offers some hangs up without one.
    """
    if not offered:
        return None
    for name in offered:
        if name in DIALECTS:
            return name
    raise WsRefused(f"none of these sub-protocols is known; known: {', '.join(DIALECTS)}")
