"""Key presses from telephone events (RFC 4733): each press is one digit, however it is sent.

A press is many packets: updates with one timestamp and a growing duration, then the end three
times. A key held for 8 s goes on in a new segment with a new timestamp (section 2.5.1.3), and some
relays change the timestamp of every packet or of the ends alone. So packets belong to one press
while their code is the same and they follow closely, unless the press has ended or the next one
begins clearly after it.

SDP agrees the payload type of events, but a plain RTP session has no SDP: an unannounced type is
recognised by its shape.
"""

from typing import Final

from ingest.rtp.packet import EVENT_DIGITS, TelephoneEvent

FOLLOWS_US: Final = 200_000
"""Longest time between two packets of one press."""

REPEAT_US: Final = 60_000
"""Ends are repeated within this time; nobody presses a key twice this fast."""

GAP_TS: Final = 320
"""A press that begins this long after the end of the last one is another, samples (40 ms)."""

REMEMBERED: Final = 8
SHAPE_PACKETS: Final = 3
"""Packets of one press after which a payload type is taken for telephone events."""

DYNAMIC_TYPES: Final = range(96, 128)
MAX_TYPES: Final = 8
"""Payload types that are watched at once."""


class KeyPresses:
    """The presses of one source."""

    __slots__ = ("_at_us", "_code", "_duration", "_ended", "_recent", "_ts")

    def __init__(self) -> None:
        self._recent: list[tuple[int, int]] = []  # (code, timestamp) of the last presses' packets
        self._code = -1
        self._ts = 0
        self._duration = 0
        self._ended = False
        self._at_us = 0

    def push(self, event: TelephoneEvent, timestamp: int, at_us: int) -> str | None:
        """Takes one packet; returns the digit if a new press begins."""
        if event.event >= len(EVENT_DIGITS):
            return None  # flash and tones
        name = (event.event, timestamp)
        known = name in self._recent
        goes_on = known or self._goes_on(event, timestamp, at_us)
        if not known:
            self._recent = [*self._recent[1 - REMEMBERED :], name]
        if goes_on and event.event != self._code:
            return None  # a late repeat of an earlier key
        self._ended = event.end or (goes_on and self._ended)
        self._code, self._ts, self._duration = event.event, timestamp, event.duration
        self._at_us = at_us
        return None if goes_on else EVENT_DIGITS[event.event]

    def _goes_on(self, event: TelephoneEvent, timestamp: int, at_us: int) -> bool:
        since_us = at_us - self._at_us
        if event.event != self._code or since_us > FOLLOWS_US:
            return False
        after = (timestamp - self._ts + 2**31 & 0xFFFFFFFF) - 2**31 - self._duration
        if self._ended:
            repeats = event.end and event.duration >= self._duration
            return repeats and (since_us <= REPEAT_US or after <= GAP_TS)
        # If this press begins later, the end of the last one was lost.
        return event.end or event.duration >= self._duration or after <= GAP_TS


class EventShape:
    """Finds the payload type that carries telephone events, by what its packets look like."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, int, int]] = {}  # type -> (timestamp, code, packets)

    def push(self, kind: int, timestamp: int, payload: bytes) -> bool:
        """Takes a packet of an unknown payload type; True when it is a telephone event: four bytes,
        a key's code, reserved bit 0, one timestamp.

        Sound never looks like that.
        """
        if kind not in DYNAMIC_TYPES or len(payload) != 4:
            return False
        code, flags = payload[0], payload[1]
        if code >= len(EVENT_DIGITS) or flags & 0x40:
            return False
        before = self._seen.get(kind)
        if before is None and len(self._seen) >= MAX_TYPES:
            return False
        same = before is not None and before[:2] == (timestamp, code)
        count = before[2] + 1 if same and before is not None else 1
        self._seen[kind] = (timestamp, code, count)
        return count >= SHAPE_PACKETS
