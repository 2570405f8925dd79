"""The circuit breaker by examples and by any sequence of steps."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.trunks.breaker import PROBE_MS, Breaker, BreakerLimits

LIMITS = BreakerLimits(failures=3, open_ms=1_000, longest_ms=3_000)


def failing(breaker: Breaker, at_ms: int, times: int = 3) -> Breaker:
    for _ in range(times):
        breaker = breaker.failed(at_ms, "cause 38", LIMITS)
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = failing(Breaker(), 0, 2).reached()
    assert failing(breaker, 10, 2).state(10) == "closed"
    opened = failing(breaker, 10)
    assert (opened.state(10), opened.reason) == ("open", "cause 38")
    assert not opened.lets_through(1_009) and opened.lets_through(1_010)


def test_one_probe_decides() -> None:
    half = failing(Breaker(), 0).tried("a", 1_000)
    assert half.state(1_000) == "half_open" and not half.lets_through(1_000)
    assert half.reached() == Breaker()
    again = half.failed(1_500, "SIP 503", LIMITS)
    assert again.state(3_499) == "open" and again.state(3_500) == "half_open"
    longest = again.tried("b", 4_000).failed(4_000, "SIP 503", LIMITS)
    assert longest.rest_ms == LIMITS.longest_ms


def test_a_probe_without_a_verdict_makes_room() -> None:
    half = failing(Breaker(), 0).tried("a", 1_000)
    assert half.gave_up("b") == half
    assert half.gave_up("a").lets_through(1_000)
    assert not half.lets_through(1_000 + PROBE_MS - 1) and half.lets_through(1_000 + PROBE_MS)


def test_what_failed_before_it_opened_lengthens_no_rest() -> None:
    opened = failing(Breaker(), 0)
    assert opened.failed(500, "late", LIMITS) == opened


def test_an_unreachable_trunk_waits_for_the_switch() -> None:
    down = Breaker().told(False, 0, LIMITS)
    assert down.state(10**9) == "open" and down.reason == "unreachable"
    assert down.told(False, 5, LIMITS) == down
    assert down.told(True, 7, LIMITS).state(7) == "half_open"
    assert Breaker().told(True, 7, LIMITS) == Breaker()


STEPS = st.lists(
    st.tuples(st.sampled_from(["fail", "reach", "try", "give", "down", "up"]), st.integers(0, 900)),
    max_size=60,
)


@given(STEPS)
def test_any_sequence(steps: list[tuple[str, int]]) -> None:
    """Rests are bounded, an open one lets nobody through, one probe at a time, and a trunk that is
    reachable is always probed again."""
    breaker, now = Breaker(), 0
    for n, (step, wait) in enumerate(steps):
        now += wait
        match step:
            case "fail":
                breaker = breaker.failed(now, "x", LIMITS)
            case "reach":
                breaker = breaker.reached()
                assert breaker.state(now) == "closed"
            case "try" if breaker.lets_through(now):
                breaker = breaker.tried(str(n), now)
                if breaker.state(now) == "half_open":
                    assert not breaker.lets_through(now)
            case "give":
                breaker = breaker.gave_up(str(n - 1))
            case "down" | "up":
                breaker = breaker.told(step == "up", now, LIMITS)
        assert 0 <= breaker.rest_ms <= LIMITS.longest_ms
        assert not (breaker.state(now) == "open" and breaker.lets_through(now))
        if not breaker.unreachable:
            assert breaker.lets_through(now + LIMITS.longest_ms + PROBE_MS)
