"""Receives a media WebSocket's messages, without a socket: what is accepted and what is refused.

Binary messages are sound in the session's codec, 20 ms each (any whole number of samples up to
100 ms is taken). Text messages are a dialect's. A peer that sends too much or nonsense is closed
with the reason.

A WebSocket has no RTP: the leg's SSRC is a hash of call and leg, the sequence is the frame count,
and time is the sum of the samples, moved on where the peer paused. Sound that TCP delayed comes all
at once, and is no pause.
"""

from array import array
from collections.abc import Sequence
from typing import Final

from ingest.sound.pause import UNEXPLAINED_US, Pause, late_us
from ingest.sound.rate import AHEAD_MS, SoundRate
from ingest.sound.silence import SilenceRule
from ingest.sound.types import SAMPLE_BYTES, Digit, Format, Frame, Leg
from ingest.ws.dialects import MAX_TEXT_BYTES, OWN, ControlMessage, Dialect, WsRefused

MAX_AUDIO_MS: Final = 100

TEXT_PER_S: Final = 20
TEXT_BURST: Final = 100

WS_SILENCE: Final = SilenceRule(wait_us=3_300_000, late_us=3_100_000)
"""A peer over TCP sends all the time, and a stall of 3 s loses nothing; a longer one is silence."""


class WsReceiver:
    """The receive side of one connection. `leg` continues an earlier connection of the call."""

    def __init__(
        self,
        sound: Format,
        leg: Leg,
        now_us: int,
        *,
        next_seq: int = 0,
        next_ts: int | None = None,
        dialect: Dialect = OWN,
    ) -> None:
        self.leg = leg
        self.next_seq = next_seq
        self.next_ts = leg.start_ts if next_ts is None else next_ts
        self.dialect = dialect
        self.alive_us: int | None = None
        self._sound = sound
        self._sample_bytes = SAMPLE_BYTES[sound.codec]
        self._swapped = self._sample_bytes == 2 and dialect.little_endian
        self._max_bytes = sound.frame_bytes * MAX_AUDIO_MS // 20
        # Sound that came without delay: what comes later than this says has waited, or is late.
        self._base_us = now_us
        self._base_ts = self.next_ts
        self._pause: Pause | None = None
        self._rate = SoundRate(now_us)
        self._text_at_us = now_us
        self._text_credit = float(TEXT_BURST)

    @property
    def waiting(self) -> bool:
        """True while frames are held, so that `poll` has work."""
        return self._pause is not None

    def audio(self, payload: bytes, now_us: int) -> Sequence[Frame]:
        """Takes a binary message; returns the frames whose time is known. Raises WsRefused."""
        samples, odd = divmod(len(payload), self._sample_bytes)
        if odd or not samples:
            raise WsRefused("sound is no whole number of samples", 1007)
        if len(payload) > self._max_bytes:
            raise WsRefused(f"sound is longer than {MAX_AUDIO_MS} ms", 1009)
        self.alive_us = now_us
        rate = self._sound.rate_hz
        if not self._rate.take(samples * 1000 / rate, now_us):
            raise WsRefused(f"sound runs more than {AHEAD_MS} ms ahead of time")
        if self._swapped:
            payload = swapped(payload)
        frame = Frame(self.leg, self.next_seq, self.next_ts, payload, self._sound.codec, 0)
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

    def text(self, message: str, now_us: int) -> ControlMessage | None:
        """Takes a text message; raises WsRefused."""
        self.alive_us = now_us
        passed_s = (now_us - self._text_at_us) / 1e6
        self._text_at_us = now_us
        self._text_credit = min(TEXT_BURST, self._text_credit + passed_s * TEXT_PER_S) - 1
        if self._text_credit < 0:
            raise WsRefused("too many text messages")
        if len(message) > MAX_TEXT_BYTES:
            raise WsRefused("text message is too long", 1009)
        return self.dialect.parse(message)

    def digits(self, control: ControlMessage, call_ms: int, last: int) -> list[Digit]:
        """The key presses of a message, named by call time and never the same as `last`."""
        first = max(last + 1, call_ms * 1000)
        return [Digit(digit, self.leg.ssrc, first + n) for n, digit in enumerate(control.digits)]


def swapped(payload: bytes) -> bytes:
    """L16 with the octets of each sample exchanged."""
    samples = array("h", payload)
    samples.byteswap()
    return samples.tobytes()
