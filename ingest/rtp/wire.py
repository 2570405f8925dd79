"""G.722 and Opus over RTP: what the wire carries, against the L16 at 16 kHz that a session has.

G.722's RTP clock is 8 kHz though its sound is 16 kHz (RFC 3551 section 4.5.2); Opus' is 48 kHz
whatever its sound is (RFC 7587 section 4.1). Decoding comes after packets were put in order, so
that a decoder's memory follows what was said.
"""

from dataclasses import dataclass
from typing import Final, Literal, cast

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.error import FFmpegError

from ingest.rtp.opus import OPUS_CLOCK_HZ
from ingest.sound.types import CodecName, Format, Frame, Leg
from ringlog.audio import g711

SOUND: Final = Format("l16", 16_000)
"""The session's format of both."""

OPUS_BIT_RATE: Final = 24_000
_TAPS: Final = 48
_CUTOFF: Final = 0.15  # of the rate: 7.2 of 48 kHz


@dataclass(frozen=True, slots=True)
class Wire:
    """How a session's sound goes over RTP, when it is coded there."""

    codec: Literal["g722", "opus"]
    payload_type: int
    clock_hz: int

    @property
    def received(self) -> Format:
        """What the receiver counts in: the wire's codec, which no frame has for long, at its
        clock."""
        return Format(cast(CodecName, self.codec), self.clock_hz)

    def to_wire(self, ts: int) -> int:
        """A time of the session's clock on the wire's."""
        return ts * self.clock_hz // SOUND.rate_hz

    def to_sound(self, ts: int) -> int:
        """A time of the wire's clock on the session's."""
        return ts * SOUND.rate_hz // self.clock_hz

    def leg_on_wire(self, leg: Leg) -> Leg:
        """A leg with the wire's clock."""
        return Leg(leg.name, leg.ssrc, self.to_wire(leg.start_ts), leg.start_ms, self.clock_hz)

    def leg_of_sound(self, leg: Leg) -> Leg:
        """A leg with the session's clock."""
        return Leg(leg.name, leg.ssrc, self.to_sound(leg.start_ts), leg.start_ms, SOUND.rate_hz)


def wire_of(codec: str, payload_type: int | None = None) -> Wire | None:
    """The wire of a codec's name; None for one that is not coded. Opus' number is by agreement;
    107 is Asterisk's."""
    match codec:
        case "g722":
            return Wire("g722", 9, 8_000)
        case "opus":
            return Wire("opus", 107 if payload_type is None else payload_type, OPUS_CLOCK_HZ)
    return None


class FrameDecoder:
    """Turns ordered frames of one call into L16. A new leg begins with a decoder of its own."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._leg: Leg | None = None
        self._heard: Leg | None = None
        self._context: AudioCodecContext | None = None
        self._before = np.zeros(_TAPS - 1, np.float32)
        self.malformed = 0

    def decode(self, frame: Frame) -> Frame | None:
        """The frame as L16 at 16 kHz; None for a payload that is none of the codec's."""
        if frame.leg is not self._leg or self._heard is None or self._context is None:
            self._leg, self._heard = frame.leg, self._wire.leg_of_sound(frame.leg)
            self._context = _reader(self._wire.codec)
            self._before = np.zeros(_TAPS - 1, np.float32)
        try:
            parts = [f.to_ndarray()[0] for f in self._context.decode(av.Packet(frame.payload))]
        except (FFmpegError, ValueError):
            self.malformed += 1
            return None
        samples = np.concatenate(parts) if parts else np.zeros(0, np.int16)
        if self._wire.codec == "opus":
            samples = self._third(samples)
        if not len(samples):
            self.malformed += 1
            return None
        ts = self._wire.to_sound(frame.ts)
        return frame._replace(
            leg=self._heard, ts=ts, payload=g711.encode_l16(samples), codec=SOUND.codec
        )

    def _third(self, samples: g711.Int16) -> g711.Int16:
        """48 to 16 kHz: a low pass (windowed sinc), then every third sample."""
        whole = np.concatenate([self._before, samples.astype(np.float32)])
        self._before = whole[-(_TAPS - 1) :]
        return g711.to_int16(np.convolve(whole, _LOW_PASS, "valid")[::3] / 32768)


class FrameEncoder:
    """Turns our frames of L16 into payloads."""

    def __init__(self, wire: Wire) -> None:
        self._context = _writer(wire.codec)
        self._pts = 0

    def encode(self, frame: bytes) -> bytes:
        """20 ms of L16 as a payload; empty while the codec holds it back."""
        samples = g711.decode_l16(frame)
        made = AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        made.sample_rate, made.pts = SOUND.rate_hz, self._pts
        self._pts += len(samples)
        return b"".join(bytes(packet) for packet in self._context.encode(made))


def _reader(codec: str) -> AudioCodecContext:
    context = av.CodecContext.create("libopus" if codec == "opus" else codec, "r")
    assert isinstance(context, AudioCodecContext)
    context.layout = "mono"
    if codec != "opus":
        context.sample_rate = SOUND.rate_hz
    context.open()
    return context


def _writer(codec: str) -> AudioCodecContext:
    context = av.CodecContext.create("libopus" if codec == "opus" else codec, "w")
    assert isinstance(context, AudioCodecContext)
    context.sample_rate, context.layout, context.format = SOUND.rate_hz, "mono", "s16"
    if codec == "opus":
        context.bit_rate = OPUS_BIT_RATE
        # Of efforts 0 to 10, 5 takes half the time of 10.
        options = {"application": "voip", "frame_duration": "20", "compression_level": "5"}
        context.options = options
    context.open()
    return context


def _low_pass() -> g711.Float32:
    n = np.arange(_TAPS) - (_TAPS - 1) / 2
    taps = np.sinc(2 * _CUTOFF * n) * np.hamming(_TAPS)
    return np.asarray(taps / taps.sum(), np.float32)


_LOW_PASS: Final = _low_pass()
