"""Constants of turn ends and resume. All positions are leg time: 8 kHz samples since the leg's
first. Changing one changes utterance ids and breaks the equality of replays across versions."""

from typing import Final

SAMPLES_PER_MS: Final = 8

FRAME: Final = 256
"""Samples judged at once (32 ms), always on the grid that begins at the leg's first sample."""

HALF_FRAME: Final = FRAME // 2
CONTEXT: Final = 32
"""Samples before a frame that the detector sees too."""

WARM_UP_FRAMES: Final = 31
WARM_UP: Final = WARM_UP_FRAMES * FRAME
"""Samples (992 ms) before a mark from which the detector's state at the mark is made."""

SETTLING: Final = 64
"""Samples before the warm-up that a resumed leg is given, for a resampler's filter to settle."""

IDLE_GRID: Final = 65_536
"""A leg without an open turn is marked at every multiple of this (8.192 s)."""

OPEN_FRAMES: Final = 2
"""Speech frames in a row that open a turn."""

LONGEST_TURN: Final = 30_000 * SAMPLES_PER_MS
"""Longest turn; without it, hold music would hold back the commit for ever."""

HANG: Final = 64 * SAMPLES_PER_MS
"""The detector stays on for about this long after speech."""

PEAK_RANGE_DB: Final = 20.0
"""A half frame is speech only within this distance of the leaky peak level."""

PEAK_LEAK_DB: Final = 0.048
"""Leak of the peak per speech frame half, about 1.5 dB a second each."""

PEAK_START_DB: Final = -45.0

POINT_FRAMES: Final = 6
POINT: Final = POINT_FRAMES * FRAME
"""An open turn is decoded, and may give a partial, at every multiple of this (192 ms)."""

LONGEST_SILENCE: Final = 5_000 * SAMPLES_PER_MS
SHORTEST_SILENCE: Final = 100 * SAMPLES_PER_MS
"""Bounds of the silence that ends a turn, whatever a chunk asks for."""

MARKED_HOLE: Final = 40 * SAMPLES_PER_MS
"""Holes longer than this are reported with the turn they lie in."""

LATEST: Final = 5_000 * SAMPLES_PER_MS
"""Sound may come this much later than a silence mark of its leg and is still heard in full. At
least the longest silence that ends a turn: no turn is open when a leg's silence is taken as
final."""

LONGEST_LEG: Final = 48 * 3_600_000 * SAMPLES_PER_MS
"""A position beyond this comes from a broken clock."""


def first_begin(seen: int, closed: int) -> int:
    """Where a leg that is seen for the first time at sample `seen` begins to be judged.

    `closed` is the highest mark of the leg's finals, 0 without one. Nothing before a mark is open,
    and an idle leg is marked on the idle grid, so both are places where an undisturbed worker had
    the state that warming up makes.
    """
    if seen == 0 or closed - WARM_UP - SETTLING >= seen:
        begin = closed
    else:
        begin = -(-(seen + SETTLING + WARM_UP) // IDLE_GRID) * IDLE_GRID
    return -(-begin // FRAME) * FRAME


def fresh_begin(seen: int, closed: int) -> int:
    """Where judging begins for a leg that nobody held when sample `seen` came: it is new, or had
    expired.

    It begins with this sound, and silence is assumed before it. What `closed` covers is on the log
    already.
    """
    if seen == 0 or closed - WARM_UP - SETTLING >= seen:
        return first_begin(seen, closed)
    return seen // FRAME * FRAME


def settled_to(silent_to: int) -> int:
    """Idle mark up to which a leg's silence is final, when it is known to be silent so far."""
    return max(0, silent_to - LATEST) // IDLE_GRID * IDLE_GRID


def held_from(mark: int) -> int:
    """First sample that the turn bank needs in order to go on from a mark."""
    return max(mark - WARM_UP, 0)


def needed_from(mark: int) -> int:
    """First sample that a successor must read in order to go on from a mark."""
    return max(mark - WARM_UP - SETTLING, 0)
