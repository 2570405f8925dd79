"""The media WebSocket's messages, without a socket: what is taken, what is refused.

Binary messages are sound in the session's codec, 20 ms each (any whole number of samples up to
100 ms is taken; L16 is in network byte order, as in RTP). Text messages are JSON objects:
`{"type": "dtmf", "digits": "42#"}`, `{"type": "clear"}`, `{"type": "mark", "name": "…"}`,
`{"type": "hangup"}`. A peer that sends too much or nonsense is closed with the reason.

A WebSocket has no RTP: the leg's SSRC is a hash of call and leg, the sequence is the frame count,
and time is the sum of the samples, moved on when the peer paused.
"""

import json
from dataclasses import dataclass
from typing import Final, Literal

from ingest.rtp.packet import EVENT_DIGITS
from ingest.sound.silence import Patience
from ingest.sound.types import SAMPLE_BYTES, Digit, Format, Frame, Leg

MAX_TEXT_BYTES: Final = 1024
MAX_DIGITS: Final = 64
MAX_AUDIO_MS: Final = 100

AUDIO_BURST_MS: Final = 2_000
"""How far a peer's sound may run ahead of time before it is closed."""

TEXT_PER_S: Final = 20
TEXT_BURST: Final = 100

PAUSE_US: Final = 400_000
"""Sound that comes so much later than the samples so far say, follows a pause."""

WS_PATIENCE: Final = Patience(wait_us=3_300_000, late_us=3_100_000)
"""A peer over TCP sends all the time, and a stall of 3 s loses nothing; longer is silence."""

MessageType = Literal["dtmf", "clear", "mark", "hangup"]


class WsRefused(Exception):
    """The peer breaks the protocol; the text is the reason. `code` is the close code (RFC 6455)."""

    def __init__(self, reason: str, code: int = 1008) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class Control:
    """One text message."""

    type: MessageType
    digits: str = ""
    name: str = ""


def parse_control(text: str) -> Control:
    """The message of a text frame; raises WsRefused."""
    if len(text) > MAX_TEXT_BYTES:
        raise WsRefused("text message is too long", 1009)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise WsRefused("text message is not JSON", 1007) from None
    if not isinstance(data, dict):
        raise WsRefused("text message is not a JSON object", 1007)
    kind = data.get("type")
    match kind:
        case "dtmf":
            digits = data.get("digits", data.get("digit"))
            if not isinstance(digits, str) or not 0 < len(digits) <= MAX_DIGITS:
                raise WsRefused("dtmf needs digits")
            if any(d not in EVENT_DIGITS for d in digits):
                raise WsRefused("dtmf has digits other than 0-9 * # A-D")
            return Control("dtmf", digits=digits)
        case "mark":
            name = data.get("name")
            if not isinstance(name, str):
                raise WsRefused("mark needs a name")
            return Control("mark", name=name)
        case "clear" | "hangup":
            return Control(kind)
    raise WsRefused("unknown type of message")


def control_text(kind: MessageType, **fields: str) -> str:
    """A text message that we send."""
    return json.dumps({"type": kind, **fields}, separators=(",", ":"))


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
    ) -> None:
        self.leg = leg
        self.next_seq = next_seq
        self.next_ts = leg.start_ts if next_ts is None else next_ts
        self._sound = sound
        self._sample_bytes = SAMPLE_BYTES[sound.codec]
        self._max_bytes = sound.frame_bytes * MAX_AUDIO_MS // 20
        self._started_us = now_us
        self._started_ts = self.next_ts
        self._ahead_since_us = now_us
        self._ahead_ms = 0.0
        self._text_at_us = now_us
        self._text_credit = float(TEXT_BURST)
        self.alive_us: int | None = None

    def audio(self, payload: bytes, now_us: int) -> Frame:
        """Takes a binary message; raises WsRefused."""
        samples, odd = divmod(len(payload), self._sample_bytes)
        if odd or not samples:
            raise WsRefused("sound is no whole number of samples", 1007)
        if len(payload) > self._max_bytes:
            raise WsRefused(f"sound is longer than {MAX_AUDIO_MS} ms", 1009)
        rate = self._sound.rate_hz
        passed_ms = (now_us - self._ahead_since_us) / 1000
        self._ahead_since_us = now_us
        self._ahead_ms = max(0.0, self._ahead_ms - passed_ms) + samples * 1000 / rate
        if self._ahead_ms > AUDIO_BURST_MS:
            raise WsRefused("sound comes faster than it plays")
        should_be = self._started_ts + (now_us - self._started_us) * rate // 1_000_000 - samples
        if (should_be - self.next_ts) * 1_000_000 > PAUSE_US * rate:
            step = self._sound.frame_samples
            self.next_ts += (should_be - self.next_ts) // step * step
        frame = Frame(self.leg, self.next_seq, self.next_ts, payload, self._sound.codec, 0)
        self.next_seq += 1
        self.next_ts += samples
        return frame

    def text(self, message: str, now_us: int) -> Control:
        """Takes a text message; raises WsRefused."""
        passed_s = (now_us - self._text_at_us) / 1e6
        self._text_at_us = now_us
        self._text_credit = min(TEXT_BURST, self._text_credit + passed_s * TEXT_PER_S) - 1
        if self._text_credit < 0:
            raise WsRefused("too many text messages")
        return parse_control(message)

    def digits(self, control: Control, call_ms: int, last: int) -> list[Digit]:
        """The key presses of a message, named by call time and never the same as `last`."""
        first = max(last + 1, call_ms * 1000)
        return [Digit(digit, self.leg.ssrc, first + n) for n, digit in enumerate(control.digits)]
