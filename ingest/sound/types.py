"""What passes between the parts of the edge: formats, legs, frames, chunks, digits.

Time on a leg counts in samples of its RTP clock, extended past 32 bits (`ts`). Wall and loop times
are `_ms` and `_us` arguments; nothing here reads a clock.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

FRAME_MS: Final = 20
"""Length of a frame that we play, ms."""

CHUNK_MS: Final = 100
"""Grid of the chunks that we log, ms."""

LegName = Literal["customer", "robot", "agent"]
CodecName = Literal["pcmu", "pcma", "l16"]
"""Codecs of a session. G.722 and Opus are on the wire only (`ingest.rtp.wire`)."""

SAMPLE_BYTES: Final[dict[str, int]] = {"pcmu": 1, "pcma": 1, "l16": 2, "g722": 1}
"""Octets of one sample on the wire, of G.722 those of one tick of its clock. Opus has no such
number."""


class Format(NamedTuple):
    """How sound is coded on a wire."""

    codec: CodecName
    rate_hz: int

    @property
    def frame_samples(self) -> int:
        """Samples of a 20 ms frame."""
        return self.rate_hz * FRAME_MS // 1000

    @property
    def frame_bytes(self) -> int:
        """Octets of a 20 ms frame."""
        return self.frame_samples * SAMPLE_BYTES[self.codec]


PCMU: Final = Format("pcmu", 8000)

PAYLOAD_FORMATS: Final[dict[int, Format]] = {
    0: PCMU,
    8: Format("pcma", 8000),
    11: Format("l16", 8000),  # as Asterisk numbers slin; RFC 3551's 44.1 kHz is on no line
    118: Format("l16", 16000),
}
"""Payload type numbers of sound, the usual ones; a session may be given others."""

COMFORT_NOISE: Final = 13
TELEPHONE_EVENT: Final = 101


def format_of(name: str) -> Format:
    """The format of a codec's name in a request: pcmu, pcma, l16 (8 kHz) or l16/16000.

    Raises ValueError naming the known ones.
    """
    known = {"pcmu": 0, "pcma": 8, "l16": 11, "l16/8000": 11, "l16/16000": 118}
    try:
        return PAYLOAD_FORMATS[known[name.lower()]]
    except KeyError:
        raise ValueError(f"unknown codec {name!r}; known: {', '.join(known)}") from None


def payload_type_of(sound: Format) -> int:
    """Payload type number under which we send a format."""
    return next(number for number, found in PAYLOAD_FORMATS.items() if found == sound)


@dataclass(frozen=True, slots=True)
class Leg:
    """One direction of a call's sound: one SSRC. `start_ms` is call time, since media opened."""

    name: LegName
    ssrc: int
    start_ts: int
    start_ms: int
    rate_hz: int

    def call_ms(self, ts: int) -> int:
        """Call time of a sample of this leg, ms."""
        return self.start_ms + (ts - self.start_ts) * 1000 // self.rate_hz


class Frame(NamedTuple):
    """Sound of one packet, in order. `lost` packets are missing just before it; `echo`: it is our
    own voice that comes back; `cleaned`: what was done to it (`cleaning.Cleaning.mark`)."""

    leg: Leg
    seq: int
    ts: int
    payload: bytes
    codec: CodecName
    lost: int
    echo: bool = False
    cleaned: str = ""


class Digit(NamedTuple):
    """A key that the far end pressed. (ssrc, ts) names the key press."""

    digit: str
    ssrc: int
    ts: int


class Chunk(NamedTuple):
    """Contiguous sound of a leg, at most 100 ms. `lost` packets are missing just before it; `echo`:
    it is our own voice that comes back; `cleaned`: what was done to it."""

    leg: Leg
    first_seq: int
    ts: int
    payload: bytes
    codec: CodecName
    lost: int
    echo: bool = False
    cleaned: str = ""


class Silent(NamedTuple):
    """Nothing came on this leg before `ts`; `seq` is the next packet's sequence number."""

    leg: Leg
    ts: int
    seq: int


class StreamIds(NamedTuple):
    """RTP identity of a stream that we send: the same again after a restart of the edge."""

    ssrc: int
    first_seq: int
    first_ts: int


def stream_ids(secret: bytes, call_id: str, leg: LegName) -> StreamIds:
    """Derives a stream's identity; unpredictable from outside (RFC 3550 section 5.1).

    The first timestamp is a multiple of 1,600: of 100 ms at 8 and at 16 kHz.
    """
    digest = hmac.new(secret, f"{call_id}|{leg}".encode(), hashlib.sha256).digest()
    first_ts = int.from_bytes(digest[6:10], "big") % (2**31 // 1600) * 1600
    return StreamIds(leg_ssrc(call_id, leg), int.from_bytes(digest[4:6], "big") >> 1, first_ts)


def leg_ssrc(call_id: str, leg: LegName) -> int:
    """SSRC of a leg whose wire has none, and of what we send: a hash of call and leg."""
    return int.from_bytes(hashlib.sha256(f"{call_id}|{leg}".encode()).digest()[:4], "big")
