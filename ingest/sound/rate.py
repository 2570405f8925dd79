"""Limits on what a far end may send: sound in real time, keys as fast as fingers."""

from typing import Final

AHEAD_MS: Final = 2_000
"""How far a far end's sound may run ahead of time."""

CREDIT_MS: Final = 10_000
"""How much delayed sound may come at once after a network stall, in addition."""

KEYS_PER_S: Final = 15
KEYS_AT_ONCE: Final = 64


class SoundRate:
    """How much sound came, against how much time passed."""

    __slots__ = ("_ahead_ms", "_at_us")

    def __init__(self, now_us: int) -> None:
        self._ahead_ms = 0.0
        self._at_us = now_us

    def take(self, ms: float, now_us: int) -> bool:
        """Counts `ms` of sound that came now; False when that is faster than it plays."""
        ahead_ms = self._ahead_ms - (now_us - self._at_us) / 1000 + ms
        self._at_us = now_us
        if ahead_ms > AHEAD_MS:
            self._ahead_ms = ahead_ms - ms
            return False
        self._ahead_ms = ahead_ms if ahead_ms > -CREDIT_MS else -CREDIT_MS
        return True


class KeyRate:
    """How many keys may still come."""

    __slots__ = ("_at_us", "_left")

    def __init__(self) -> None:
        self._left = float(KEYS_AT_ONCE)
        self._at_us = 0

    def take(self, now_us: int) -> bool:
        """Counts one key; False when no fingers are so fast."""
        self._left += (now_us - self._at_us) / 1e6 * KEYS_PER_S
        self._at_us = now_us
        if self._left > KEYS_AT_ONCE:
            self._left = float(KEYS_AT_ONCE)
        if self._left < 1:
            return False
        self._left -= 1
        return True
