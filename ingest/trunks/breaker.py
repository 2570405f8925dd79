"""A trunk's circuit breaker: a trunk that fails again and again rests, then a probe decides. Pure.

closed --failures in a row--> open --the rest is over--> half_open --probe reached--> closed
                                ^                            |
                                +--probe failed, rest doubled+
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

BreakerState = Literal["closed", "open", "half_open"]

PROBE_MS: Final = 60_000
"""A probe without a verdict for this long is given up; another may go."""


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When it opens, and for how long. Times are milliseconds."""

    failures: int = 5
    open_ms: int = 30_000
    longest_ms: int = 300_000


@dataclass(frozen=True, slots=True)
class Breaker:
    """`opened_ms` is None while it is closed. `reason` says why it opened."""

    failures: int = 0
    opened_ms: int | None = None
    rest_ms: int = 0
    probe: tuple[str, int] | None = None  # call that probes, and since when, ms
    unreachable: bool = False
    reason: str | None = None

    def state(self, now_ms: int) -> BreakerState:
        """Where it stands at a time."""
        if self.opened_ms is None:
            return "closed"
        if self.unreachable or now_ms < self.opened_ms + self.rest_ms:
            return "open"
        return "half_open"

    def lets_through(self, now_ms: int) -> bool:
        """Whether a try may begin: while half open, one at a time."""
        match self.state(now_ms):
            case "closed":
                return True
            case "open":
                return False
            case _:
                return self.probe is None or now_ms - self.probe[1] >= PROBE_MS

    def tried(self, call_id: str, now_ms: int) -> "Breaker":
        """A call has begun a try."""
        if self.state(now_ms) != "half_open":
            return self
        return replace(self, probe=(call_id, now_ms))

    def reached(self) -> "Breaker":
        """A call came through: the trunk works, also if it does not answer OPTIONS."""
        return Breaker()

    def failed(self, now_ms: int, reason: str, limits: BreakerLimits) -> "Breaker":
        """A try failed by the carrier's fault."""
        match self.state(now_ms):
            case "closed":
                failures = self.failures + 1
                if failures < limits.failures:
                    return replace(self, failures=failures)
                return Breaker(failures, now_ms, limits.open_ms, reason=reason)
            case "half_open":
                rest_ms = min(max(limits.open_ms, 2 * self.rest_ms), limits.longest_ms)
                return Breaker(self.failures + 1, now_ms, rest_ms, reason=reason)
            case _:
                return self  # begun before it opened

    def gave_up(self, call_id: str) -> "Breaker":
        """A call ended without a verdict on the carrier: another may probe."""
        if self.probe is None or self.probe[0] != call_id:
            return self
        return replace(self, probe=None)

    def told(self, reachable: bool, now_ms: int, limits: BreakerLimits) -> "Breaker":
        """The switch has tried the trunk by itself (SIP OPTIONS)."""
        if not reachable:
            if self.unreachable:
                return self
            rest_ms = self.rest_ms or limits.open_ms
            return replace(
                self, opened_ms=now_ms, rest_ms=rest_ms, unreachable=True, probe=None,
                reason="unreachable",
            )  # fmt: skip
        if not self.unreachable:
            return self
        # It answers again: the next call probes it at once.
        return replace(self, unreachable=False, opened_ms=now_ms, rest_ms=0)
