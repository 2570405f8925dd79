"""Genesys AudioHook, version 2, and its Audio Connector: JSON texts, binary sound.

The client opens, numbers its messages (`seq`) and tells which of ours it has (`serverseq`) and how
far its sound is (`position`); we answer with the same numbers the other way round. Sound is PCMU or
L16 at 8 kHz, low octet first, one or two channels: the customer is `external`. (Protocol as
in Genesys' reference implementation.)
"""

import re
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ingest.sound.types import FRAME_MS, Format
from ingest.ws.dialects.base import (
    SESSION_FIELDS,
    ControlMessage,
    Heard,
    Reply,
    Sound,
    Wanted,
    WsRefused,
    compact,
    digits_of,
    object_of,
    session_of,
)

MAX_TEXT: Final = 8_192
MAX_SOUND_MS: Final = 500

GATHERED_FRAMES: Final = 10
"""Frames in one message of ours, 200 ms: a client refuses too many messages (error 429)."""

MOST_HELD_FRAMES: Final = 250
"""Sound that waits while a client takes no messages, 5 s; what comes then is left out."""

NULL_ID: Final = "00000000-0000-0000-0000-000000000000"
"""Id of the conversation of a probe, which opens and closes and is no call."""


_FORMATS: Final = {"PCMU": Format("pcmu", 8000), "L16": Format("l16", 8000)}
_DURATION: Final = re.compile(r"PT([0-9]{0,9}(?:\.[0-9]{1,9})?)S")


class AudioHookDialect:
    """One session."""

    little_endian = True
    gathers = True
    max_text_bytes = MAX_TEXT
    max_audio_ms = MAX_SOUND_MS
    linger_s = 2.0

    def __init__(
        self,
        session_id: str,
        organization_id: str,
        given: Mapping[str, str],
        customer_of: Callable[[str], str],
    ) -> None:
        """Ids as in the handshake; `given`: session fields of the URL; `customer_of`: the
        customer's id for a number."""
        self.session_id = session_id
        self._organization_id = organization_id
        self._given = given
        self._customer_of = customer_of
        self._state = "new"  # opening, open, paused, closed
        self._seq = 0
        self._clientseq = 0
        self._position_s = 0.0
        self._offered: list[dict[str, Any]] = []
        self._chosen: dict[str, Any] = {}
        self._sample_bytes = 1
        self._channels = 1
        self._channel = 0
        self._lost = 0
        self._gathered: list[bytes] = []
        self._held_frames = 0

    # In ------------------------------------------------------------------------------------------

    def take(self, message: str | bytes) -> Iterable[Heard]:
        """What a message holds; raises WsRefused."""
        if isinstance(message, bytes):
            return self._sound(message)
        data = object_of(message)
        kind, parameters = self._count(data)
        if self._state == "closed":
            return ()
        if self._state == "new" and kind not in ("open", "close"):
            raise WsRefused("the session is not open")
        match kind:
            case "open":
                return self._open(parameters)
            case "ping":
                return (Reply(self._message("pong")),)
            case "update":
                return (Reply(self._message("updated")),)
            case "paused":
                self._state = "paused"
                return ()
            case "resumed" | "discarded":
                self._state = "open"
                seconds_of(parameters.get("start"))
                discarded_s = seconds_of(parameters.get("discarded"))
                self._lost += int(discarded_s * 1000) // FRAME_MS
                return ()
            case "dtmf":
                return (ControlMessage("dtmf", digits=digits_of(parameters.get("digit"))),)
            case "close":
                return self._close(parameters)
            case "error":
                return self._error(parameters)
        return ()  # playback_started and the like

    def _count(self, data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Kind and parameters of a message whose numbers are right; raises WsRefused."""
        kind, parameters = data.get("type"), data.get("parameters")
        if data.get("version") != "2" or not isinstance(kind, str):
            raise WsRefused("not a message of AudioHook version 2")
        if not isinstance(parameters, dict):
            raise WsRefused("parameters is no object")
        if data.get("id") != self.session_id:
            raise WsRefused("another session's id")
        seq, serverseq = _whole(data.get("seq")), _whole(data.get("serverseq"))
        if seq != self._clientseq + 1:
            raise WsRefused("seq is not the next one")
        if serverseq > self._seq:
            raise WsRefused("serverseq is past what we have sent")
        self._clientseq = seq
        position_s = seconds_of(data.get("position"))
        if position_s < self._position_s:
            raise WsRefused("position goes back")
        self._position_s = position_s
        return kind, parameters

    def _open(self, parameters: dict[str, Any]) -> Iterable[Heard]:
        if self._state != "new":
            raise WsRefused("the session is open already")
        if parameters.get("organizationId") != self._organization_id:
            raise WsRefused("organizationId is not that of the handshake")
        conversation = parameters.get("conversationId")
        participant = parameters.get("participant")
        if not isinstance(conversation, str) or not isinstance(participant, dict):
            raise WsRefused("open names no conversation")
        self._offered = [m for m in _list(parameters, "media") if _is_usable(m)]
        if not self._offered:
            raise WsRefused("no media offered that has the external channel as PCMU or L16")
        if conversation == NULL_ID:
            self._select(self._offered[0])
            return (Reply(self._opened()),)
        self._state = "opening"
        continued = _list(parameters, "continuedSessions")
        if not all(isinstance(c, dict) and isinstance(c.get("id"), str) for c in continued):
            raise WsRefused("continuedSessions is malformed")
        return (self._wanted(conversation, participant, parameters, bool(continued)),)

    def _wanted(
        self,
        conversation: str,
        participant: dict[str, Any],
        parameters: dict[str, Any],
        again: bool,
    ) -> Wanted:
        """The call is the conversation, unless a variable names another. One that goes on from an
        earlier session must exist."""
        told: dict[str, Any] = {}
        for name in ("customConfig", "inputVariables"):
            part = parameters.get(name)
            told |= part if isinstance(part, dict) else {}
        call_id = told.get("call_id", conversation)
        if not isinstance(call_id, str):
            raise WsRefused("call_id is a string")
        fields: dict[str, Any] = dict(self._given)
        fields |= {name: value for name, value in told.items() if name in SESSION_FIELDS}
        if again or not fields:
            return Wanted(call_id, None)
        ani = str(participant.get("ani") or "").removeprefix("tel:")
        if ani.startswith("+"):
            fields.setdefault("phone", ani)
            fields.setdefault("customer_id", self._customer_of(ani))
        codec = _FORMATS[self._offered[0]["format"]].codec
        return Wanted(call_id, None, session_of(call_id, codec, fields))

    def _select(self, media: dict[str, Any]) -> None:
        self._chosen = media
        self._sample_bytes = 2 if media["format"] == "L16" else 1
        self._channels = len(media["channels"])
        self._channel = media["channels"].index("external")

    def _sound(self, message: bytes) -> Iterable[Heard]:
        if self._state == "paused":
            return ()
        if self._state != "open":
            raise WsRefused("sound before the session is open")
        step = self._sample_bytes * self._channels
        if not message or len(message) % step:
            raise WsRefused("sound is no whole number of samples", 1007)
        lost, self._lost = self._lost, 0
        return (Sound(self._customers(message), lost),)

    def _customers(self, message: bytes) -> bytes:
        if self._channels == 1:
            return message
        if self._sample_bytes == 1:
            return message[self._channel :: self._channels]
        return array("h", message)[self._channel :: self._channels].tobytes()

    def _close(self, parameters: dict[str, Any]) -> Iterable[Heard]:
        was, self._state = self._state, "closed"
        closed = Reply(self._message("closed"))
        if was in ("open", "paused") and parameters.get("reason") == "end":
            return closed, ControlMessage("hangup")
        return (closed,)  # after `reconnect` or an error a new session goes on with the call

    def _error(self, parameters: dict[str, Any]) -> Iterable[Heard]:
        if parameters.get("code") == 429:
            wait_s = seconds_of(parameters.get("retryAfter", "PT1S"))
            self._held_frames = min(int(wait_s * 1000) // FRAME_MS, MOST_HELD_FRAMES)
        return ()

    # Out -----------------------------------------------------------------------------------------

    def opened(self, sound: Format) -> Iterable[str | bytes]:
        """The media of the session's codec, which the client must have offered."""
        for media in self._offered:
            if _FORMATS[media["format"]] == sound:
                self._select(media)
                return (self._opened(),)
        raise WsRefused("the session's codec was not offered")

    def _opened(self) -> str:
        self._state = "open"
        return self._message("opened", media=[self._chosen], startPaused=False)

    def refused(self, reason: str, retry_after_s: float | None = None) -> str | None:
        """`disconnect` with the reason."""
        if self._state == "closed":
            return None
        self._state = "closed"
        later = f"; again after {retry_after_s:g} s" if retry_after_s else ""
        return self._message("disconnect", reason="error", info=f"{reason}{later}")

    def sound(self, frame: bytes) -> bytes | None:
        """200 ms in a message, or what was held since the client took none."""
        if len(self._gathered) < MOST_HELD_FRAMES:
            self._gathered.append(frame)
        if self._held_frames:
            self._held_frames -= 1
            return None
        return self._flushed() if len(self._gathered) >= GATHERED_FRAMES else None

    def _flushed(self) -> bytes | None:
        gathered, self._gathered = b"".join(self._gathered), []
        return gathered or None

    def word(self, message: ControlMessage) -> str | bytes | None:
        """`barge_in`, `disconnect`, `reconnect`. A mark sends what is gathered of a prompt."""
        if self._state not in ("open", "paused"):
            return None
        match message.type:
            case "clear":
                self._gathered.clear()
                return self._message("event", entities=[{"type": "barge_in", "data": {}}])
            case "mark":
                return None if self._held_frames else self._flushed()
            case "hangup":
                return self._message("disconnect", reason="completed")
            case "reconnect":
                return self._message("reconnect")
            case "dtmf":
                return None

    def _message(self, kind: str, **parameters: object) -> str:
        self._seq += 1
        return compact(
            {"version": "2", "type": kind, "id": self.session_id, "seq": self._seq,
             "clientseq": self._clientseq, "parameters": parameters}
        )  # fmt: skip


def seconds_of(found: object) -> float:
    """An ISO 8601 duration of seconds only, `PT1.5S`; raises WsRefused."""
    match = _DURATION.fullmatch(found) if isinstance(found, str) else None
    if match is None or not match[1]:
        raise WsRefused("a duration is malformed")
    return float(match[1])


def _whole(found: object) -> int:
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 2**53:
        raise WsRefused("seq and serverseq are whole numbers")
    return found


def _list(parameters: dict[str, Any], name: str) -> list[Any]:
    found = parameters.get(name) or []
    if not isinstance(found, list) or len(found) > 32:
        raise WsRefused(f"{name} is no list")
    return found


def _is_usable(media: object) -> bool:
    if not isinstance(media, dict) or media.get("type") != "audio" or media.get("rate") != 8000:
        return False
    channels, form = media.get("channels"), media.get("format")
    return isinstance(form, str) and form in _FORMATS and channels in (
        ["external"], ["external", "internal"]
    )  # fmt: skip
