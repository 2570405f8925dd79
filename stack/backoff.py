"""How long a dead service waits for its next start."""

_FIRST_S = 0.2
_LONGEST_S = 15.0
_STABLE_S = 5.0


def delay_s(failures: int) -> float:
    """Wait after this many failures in a row (1, 2, ...): doubling, at most 15 s.

    The first is short: a worker that died in a call should be back within the second.
    """
    return min(_FIRST_S * 2.0 ** min(failures - 1, 32), _LONGEST_S)


def failures_after(failures: int, lived_s: float) -> int:
    """Failures in a row, after a run that was ready for `lived_s`: a program that ran for a while
    before it was killed can run, however often that happens."""
    return 1 if lived_s >= _STABLE_S else failures + 1
