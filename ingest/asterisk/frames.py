"""Frames of AudioSocket: kind, length, payload. Pure; untrusted bytes, within limits.

https://docs.asterisk.org/Configuration/Channel-Drivers/AudioSocket/
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

KIND_HANGUP: Final = 0x00
KIND_UUID: Final = 0x01
KIND_KEY: Final = 0x03
KIND_SLIN: Final = 0x10
"""Sound: signed 16-bit samples, low octet first, 8 kHz."""
KIND_SLIN16: Final = 0x12
KIND_ERROR: Final = 0xFF

SOUND_KINDS: Final = {8_000: KIND_SLIN, 16_000: KIND_SLIN16}
"""By sample rate."""

MAX_PAYLOAD: Final = 3_200
"""Longest payload taken, octets: 100 ms at 16 kHz. Asterisk sends 20 ms."""

_HEADER: Final = struct.Struct("!BH")


class FrameRefused(ValueError):
    """The peer breaks the protocol; the text says how."""


class AudioFrame(NamedTuple):
    """One frame."""

    kind: int
    payload: bytes


class FrameReader:
    """Puts a stream of octets back into frames; holds less than one of the longest."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> Iterator[AudioFrame]:
        """The frames that are whole; raises FrameRefused."""
        held, at = self._held + data, 0
        self._held = b""
        while len(held) - at >= _HEADER.size:
            kind, length = _HEADER.unpack_from(held, at)
            if length > MAX_PAYLOAD:
                raise FrameRefused(f"a frame is longer than {MAX_PAYLOAD} octets")
            end = at + _HEADER.size + length
            if end > len(held):
                break
            yield AudioFrame(kind, held[at + _HEADER.size : end])
            at = end
        self._held = held[at:]


def framed(kind: int, payload: bytes = b"") -> bytes:
    """A frame as it is sent."""
    return _HEADER.pack(kind, len(payload)) + payload
