"""Receives a media WebSocket's messages, without a socket: what is accepted and what is refused.

The dialect says what a message holds. Sound is in the session's codec, 20 ms a message (any whole
number of samples up to the dialect's limit is taken). A peer that sends too much or nonsense is
closed with the reason.

A WebSocket has no RTP: the leg's SSRC is a hash of call and leg, the sequence is the frame count,
and time is the sum of the samples, moved on where the peer paused. Sound that TCP delayed comes all
at once, and is no pause.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Final

from ingest.sound.pause import UNEXPLAINED_US, Pause, late_us
from ingest.sound.rate import AHEAD_MS, SoundRate
from ingest.sound.silence import SilenceRule
from ingest.sound.types import SAMPLE_BYTES, Digit, Format, Frame, Leg
from ingest.ws.dialects.base import ControlMessage, Dialect, Heard, Sound, WsRefused

MAX_FRAME_MS: Final = 100
"""Longer sound is cut into frames of this length."""

MAX_LOST: Final = 150
"""Most frames that a peer's gap may leave out: 3 s, the longest stall that is no silence."""

TEXT_PER_S: Final = 20
TEXT_BURST: Final = 100

WS_SILENCE: Final = SilenceRule(wait_us=3_300_000, late_us=3_100_000)
"""A peer over TCP sends all the time, and a stall of 3 s loses nothing; a longer one is silence."""


class WsReader:
    """Reads a connection's messages within limits, before and after its call is known."""

    def __init__(self, dialect: Dialect, now_us: int) -> None:
        self.dialect = dialect
        self._at_us = now_us
        self._credit = float(TEXT_BURST)

    def take(self, message: str | bytes, now_us: int) -> Iterable[Heard]:
        """What a message holds; raises WsRefused. Sound is rationed by its length, not here."""
        if isinstance(message, bytes):
            return self.dialect.take(message)
        if len(message) > self.dialect.max_text_bytes:
            raise WsRefused("text message is too long", 1009)
        found = tuple(self.dialect.take(message))
        if not any(isinstance(x, Sound) for x in found):
            passed_s = (now_us - self._at_us) / 1e6
            self._at_us = now_us
            self._credit = min(TEXT_BURST, self._credit + passed_s * TEXT_PER_S) - 1
            if self._credit < 0:
                raise WsRefused("too many text messages")
        return found


class WsReceiver:
    """The receive side of one connection. `leg` continues an earlier connection of the call."""

    def __init__(
        self,
        sound: Format,
        leg: Leg,
        now_us: int,
        dialect: Dialect,
        *,
        next_seq: int = 0,
        next_ts: int | None = None,
    ) -> None:
        self.leg = leg
        self.next_seq = next_seq
        self.next_ts = leg.start_ts if next_ts is None else next_ts
        self.dialect = dialect
        self.alive_us: int | None = None
        self._sound = sound
        self._sample_bytes = SAMPLE_BYTES[sound.codec]
        self._swapped = self._sample_bytes == 2 and dialect.little_endian
        self._max_bytes = sound.frame_bytes * dialect.max_audio_ms // 20
        # Sound that came without delay: what comes later than this says has waited, or is late.
        self._base_us = now_us
        self._base_ts = self.next_ts
        self._pause: Pause | None = None
        self._rate = SoundRate(now_us)

    @property
    def waiting(self) -> bool:
        """True while frames are held, so that `poll` has work."""
        return self._pause is not None

    def audio(self, payload: bytes, now_us: int, lost: int = 0) -> Sequence[Frame]:
        """Takes a message's sound; returns the frames whose time is known. Raises WsRefused.

        `lost` frames of 20 ms are missing before it: they leave a hole.
        """
        samples, odd = divmod(len(payload), self._sample_bytes)
        if odd or not samples:
            raise WsRefused("sound is no whole number of samples", 1007)
        if len(payload) > self._max_bytes:
            raise WsRefused(f"sound is longer than {self.dialect.max_audio_ms} ms", 1009)
        self.alive_us = now_us
        rate = self._sound.rate_hz
        lost = min(lost, MAX_LOST)
        if not self._rate.take(samples * 1000 / rate, now_us):
            raise WsRefused(f"sound runs more than {AHEAD_MS} ms ahead of time")
        if self._swapped:
            payload = swapped(payload)
        self.next_seq += lost
        self.next_ts += lost * self._sound.frame_samples
        longest = self._sound.frame_bytes * MAX_FRAME_MS // 20
        if len(payload) <= longest:
            return self._placed(payload, samples, lost, now_us)
        frames: list[Frame] = []
        for at in range(0, len(payload), longest):
            part = payload[at : at + longest]
            frames += self._placed(part, len(part) // self._sample_bytes, 0 if at else lost, now_us)
        return frames

    def _placed(self, payload: bytes, samples: int, lost: int, now_us: int) -> Sequence[Frame]:
        rate = self._sound.rate_hz
        frame = Frame(self.leg, self.next_seq, self.next_ts, payload, self._sound.codec, lost)
        self.next_seq += 1
        self.next_ts += samples
        late = late_us(self._base_us, self._base_ts, now_us, self.next_ts, rate)
        if late < 0:
            self._base_us, self._base_ts = now_us, self.next_ts
        if self._pause is None:
            if late <= UNEXPLAINED_US:
                return (frame,)
            self._pause = Pause(rate, self._base_us, self._base_ts)
        self._pause.push(frame, self.next_ts, now_us)
        return self.poll(now_us)

    def poll(self, now_us: int) -> Sequence[Frame]:
        """Held frames, once it is known whether they follow a pause or a stall."""
        pause = self._pause
        if pause is None or (shift := pause.verdict(now_us)) is None:
            return ()
        self._pause = None
        step = self._sound.frame_samples
        shift = shift // step * step
        self.next_ts += shift
        return [f._replace(ts=f.ts + shift) for f in pause.frames]

    def flush(self) -> Sequence[Frame]:
        """All frames that are held: the call is over."""
        return self.poll(2**62)

    def digits(self, control: ControlMessage, call_ms: int, last: int) -> list[Digit]:
        """The key presses of a message, named by call time and never the same as `last`."""
        first = max(last + 1, call_ms * 1000)
        return [Digit(digit, self.leg.ssrc, first + n) for n, digit in enumerate(control.digits)]


def swapped(payload: bytes) -> bytes:
    """L16 with the octets of each sample exchanged."""
    samples = array("h", payload)
    samples.byteswap()
    return samples.tobytes()
