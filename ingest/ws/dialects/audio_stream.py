"""FreeSWITCH's mod_audio_stream: L16 up, and the robot's voice back in one of two ways.

The module offers no sub-protocol, so the URL says `dialect=audio_stream` or `audio_stream_raw`. Its
first text is the metadata of the start command; all its texts are passed over, since keys come by
the event socket. Sound is L16, low octet first, at the session's rate; a session in G.711 is
transcoded here. To it: `streamAudio` with base64, which the module writes to a file that the event
socket has to play, or, from version 1.0.3, binary sound that it plays itself.
"""

import base64
from collections.abc import Iterable
from typing import Final

import numpy as np

from ingest.sound.types import PCMU, Format
from ingest.ws.dialects.base import BinaryDialect, ControlMessage, Heard, Sound, WsRefused, compact
from ringlog.audio import g711

MAX_SOUND_MS: Final = 500
"""`STREAM_BUFFER_SIZE` is a multiple of 20 ms; longer ones are of no use in a talk."""

GATHERED_FRAMES: Final = 10
"""Frames in one `streamAudio`, 200 ms: each becomes a file of FreeSWITCH's."""

BREAK: Final = '{"type":"ringlog","do":"break"}'
"""Ours: the module hands it on as an event, and our event socket stops the file (`uuid_break`)."""


class AudioStreamDialect(BinaryDialect):
    """Playback by files (`streamAudio`)."""

    little_endian = True
    gathers = True
    max_audio_ms = MAX_SOUND_MS

    def __init__(self) -> None:
        self._format = PCMU
        self._gathered: list[bytes] = []

    def opened(self, sound: Format) -> Iterable[str | bytes]:
        """Keeps the session's format."""
        self._format = sound
        return ()

    def take(self, message: str | bytes) -> Iterable[Heard]:
        """Sound in the session's codec; raises WsRefused."""
        if isinstance(message, str):
            return ()
        if len(message) % 2:
            raise WsRefused("sound is no whole number of samples", 1007)
        if self._format.codec == "l16":
            return (Sound(message),)
        samples = np.frombuffer(message, "<i2").astype(np.int16)
        return (Sound(g711.encode(self._format.codec, samples)),)

    def _wire(self, frame: bytes) -> bytes:
        if self._format.codec == "l16":
            return frame
        return g711.decode(self._format.codec, frame).astype("<i2").tobytes()

    def sound(self, frame: bytes) -> str | bytes | None:
        """200 ms in a `streamAudio`."""
        self._gathered.append(self._wire(frame))
        return self._flushed() if len(self._gathered) >= GATHERED_FRAMES else None

    def _flushed(self) -> str | None:
        gathered, self._gathered = b"".join(self._gathered), []
        if not gathered:
            return None
        return compact(
            {"type": "streamAudio", "data": {
                "audioDataType": "raw", "sampleRate": self._format.rate_hz,
                "audioData": base64.b64encode(gathered).decode(),
            }}
        )  # fmt: skip

    def word(self, message: ControlMessage) -> str | None:
        """A mark sends the rest of a prompt; the module knows no words of ours."""
        match message.type:
            case "mark":
                return self._flushed()
            case "clear":
                self._gathered.clear()
                return BREAK
            case "hangup" | "dtmf" | "reconnect":
                return None


class RawAudioStreamDialect(AudioStreamDialect):
    """Playback by the module itself: binary sound, frame by frame."""

    gathers = False

    def sound(self, frame: bytes) -> bytes:
        """The frame as L16."""
        return self._wire(frame)
