"""Opus (RFC 6716) to and from mono L16 in network order, by FFmpeg's libopus."""

from fractions import Fraction
from typing import Final

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from ingest.sound.types import FRAME_MS
from ingest.webrtc.offer import OPUS_CLOCK_HZ

MAX_OPUS_BYTES: Final = 1_275 * 3 + 7
"""Longest packet that is decoded: 60 ms in three frames (RFC 6716 section 3.2)."""

MAX_OPUS_SAMPLES: Final = OPUS_CLOCK_HZ * 120 // 1000
"""No packet is longer than 120 ms."""

BIT_RATE: Final = 32_000
EFFORT: Final = "5"
"""libopus complexity, 0 to 10: 5 takes half the time of 10 and sounds the same at this rate."""


class NotOpus(ValueError):
    """A packet that libopus does not decode."""


class OpusDecoder:
    """Decodes one stream to L16 of `rate_hz`; each packet gives as much sound as it lasts."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._codec = _decoder()
        self._resampler = AudioResampler(format="s16", layout="mono", rate=rate_hz)
        self._left = np.zeros(0, np.int16)

    def decode(self, payload: bytes) -> bytes:
        """L16 of one packet, octets in network order; raises NotOpus."""
        if not 0 < len(payload) <= MAX_OPUS_BYTES:
            raise NotOpus("no Opus packet has this length")
        try:
            frames = self._codec.decode(av.Packet(payload))
        except (av.error.FFmpegError, ValueError) as error:
            self._codec = _decoder()  # an error may leave it unusable
            raise NotOpus(str(error)) from None
        wanted = sum(frame.samples for frame in frames) * self._rate_hz // OPUS_CLOCK_HZ
        parts = [self._left]
        for frame in frames:
            frame.pts = None  # the resampler would fill up or cut by it
            parts += [made.to_ndarray()[0] for made in self._resampler.resample(frame)]
        sound = np.concatenate(parts)
        if len(sound) < wanted:  # the resampler's filter has just begun: 1 ms of delay, once
            sound = np.concatenate([np.zeros(wanted - len(sound), np.int16), sound])
        self._left = sound[wanted:]
        return sound[:wanted].astype(">i2").tobytes()


class OpusEncoder:
    """Encodes one stream of 20 ms frames of L16 at `rate_hz` (8, 16 or 48 kHz)."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._samples = 0
        codec = av.CodecContext.create("libopus", "w")
        assert isinstance(codec, AudioCodecContext)
        codec.sample_rate = rate_hz
        codec.format = "s16"
        codec.layout = "mono"
        codec.bit_rate = BIT_RATE
        codec.time_base = Fraction(1, rate_hz)
        codec.options = {
            "application": "voip",
            "compression_level": EFFORT,
            "frame_duration": str(FRAME_MS),
        }
        self._codec = codec

    def encode(self, frame: bytes) -> bytes:
        """The packet of 20 ms of L16, octets in network order."""
        samples = np.frombuffer(frame, ">i2").astype(np.int16)
        sound = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        sound.sample_rate = self._rate_hz
        sound.pts = self._samples
        self._samples += len(samples)
        return b"".join(bytes(packet) for packet in self._codec.encode(sound))


def _decoder() -> AudioCodecContext:
    codec = av.CodecContext.create("libopus", "r")
    assert isinstance(codec, AudioCodecContext)
    codec.format = "s16"
    codec.layout = "mono"
    codec.sample_rate = OPUS_CLOCK_HZ
    return codec
