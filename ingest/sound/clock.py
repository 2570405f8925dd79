"""The loop's clock: monotonic, for arrivals and ticks. The time of day is `ringlog.clock`'s."""

import time


def monotonic_us() -> int:
    """Microseconds on a clock that never goes back; its zero means nothing."""
    return time.monotonic_ns() // 1_000
