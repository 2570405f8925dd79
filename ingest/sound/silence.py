"""When a silent leg is marked on the log, though nothing arrives (silence suppression, mute).

A recogniser reads the log alone: without a packet it sees no time pass, and no turn ends. So marks
follow the last sound: close together while a turn may end by them, then rarely, so that readers
know that the leg is alive. Pure: the ticks and their times come from outside.
"""

from typing import Final, NamedTuple

DENSE_US: Final = 100_000
"""From mark to mark while a turn may end."""

SPARSE_US: Final = 4_000_000
"""From mark to mark on a leg that has been silent for long."""

PAST_TURN_MS: Final = 700
"""How much longer than a turn's silence marks stay close: speech may have ended before the last
packet, and the recogniser adds its own delay."""


class SilenceRule(NamedTuple):
    """What a transport calls silence.

    `wait_us`: time without sound before the first mark. `late_us`: sound this late is still
    accepted, so a mark stays this far behind the present; less than `wait_us`.
    """

    wait_us: int
    late_us: int


RTP_SILENCE: Final = SilenceRule(wait_us=200_000, late_us=100_000)
"""Packets come every 20 ms, or the far end suppresses silence; jitter beyond 100 ms is rare. The
difference is a multiple of 100 ms, as a turn's silence is: a mark comes when a turn may end."""


class SilenceMarks:
    """The schedule of one leg's marks."""

    __slots__ = ("_heard_us", "_next_us", "_wait_us", "turn_silence_ms")

    def __init__(self, turn_silence_ms: int) -> None:
        self.turn_silence_ms = turn_silence_ms
        self._heard_us: int | None = None
        self._next_us = 0
        self._wait_us = DENSE_US

    def due(self, heard_us: int, now_us: int, silence: SilenceRule) -> bool:
        """True when a mark is due now; it then counts as made. `heard_us`: the last sound."""
        if heard_us != self._heard_us:
            self._heard_us, self._wait_us = heard_us, DENSE_US
            self._next_us = heard_us + silence.wait_us
        if now_us < self._next_us:
            return False
        dense_us = silence.wait_us + (self.turn_silence_ms + PAST_TURN_MS) * 1000
        if now_us - heard_us >= dense_us:
            self._wait_us = min(2 * self._wait_us, SPARSE_US)
        self._next_us = max(self._next_us + self._wait_us, now_us)
        return True
