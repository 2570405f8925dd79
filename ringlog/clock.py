"""The one place where the time of day is read; domain logic gets it as an argument."""

import time


def now_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000
