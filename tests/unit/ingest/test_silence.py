"""A silent leg is marked on the log: soon, in time, rarely after that, and never beside sound."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.sound.chunker import LegEnd
from ingest.sound.pacer import TICK_US
from ingest.sound.session import RETURN_US, LastHeard
from ingest.sound.silence import RTP_SILENCE, SPARSE_US, SilenceMarks
from ingest.sound.types import Chunk, Frame, Leg, Silent
from tests.unit.ingest.test_edge_session import LEG, SILENCE, Call, voice

RATE = 8000


def marks(call: Call) -> list[Silent]:
    return [x for x in call.logged if isinstance(x, Silent)]


def test_T1_marks_tell_a_turns_silence_in_time() -> None:
    """Speech, then no packet: the log shows the turn's silence within its time and 200 ms."""
    call = Call()
    call.run(50, hear=voice())
    last_us, end_ts = (call.n - 1) * TICK_US, 1600 + 50 * 160
    told_us: int | None = None
    while told_us is None:
        call.run(1)
        if any(m.ts >= end_ts + RATE // 2 for m in marks(call)):
            told_us = (call.n - 1) * TICK_US
    assert told_us - last_us <= 500_000 + 120_000
    first = marks(call)[0]
    assert first.leg is LEG and first.seq == 50
    assert all(m.ts > end_ts for m in marks(call))
    assert isinstance(call.logged[0], Chunk) and call.logged.index(first) >= len(
        call.chunks("customer")
    ), "the sound that was pending goes first"


def test_T1_marks_follow_the_sessions_clock_and_become_rare() -> None:
    call = Call()
    call.run(50, hear=voice())
    call.run(60 * 50)
    found = marks(call)
    assert len(found) < 40, "1,000 silent legs must not fill the log"
    steps = [(b.ts - a.ts) * 1_000_000 // RATE for a, b in zip(found, found[1:], strict=False)]
    assert min(steps) > 0 and max(steps) <= SPARSE_US + TICK_US
    now_ts = 1600 + (call.n - 1) * 160
    assert now_ts - found[-1].ts <= (SPARSE_US + RTP_SILENCE.late_us) * RATE // 1_000_000 + 320


def test_T1_sound_after_marks_keeps_its_own_time() -> None:
    call = Call()
    call.run(20, hear=voice())
    call.run(100)
    before = len(marks(call))
    call.run(20, hear=voice())
    assert len(marks(call)) == before
    resumed = [c for c in call.chunks("customer") if c.ts >= 1600 + 120 * 160]
    assert resumed[0].ts == 1600 + 120 * 160
    assert all(m.ts <= resumed[0].ts for m in marks(call))


def test_regular_sound_has_no_marks() -> None:
    call = Call()
    call.run(500, hear=SILENCE)
    assert marks(call) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 120)), max_size=8))
def test_marks_of_a_leg_only_go_forward(spurts: list[tuple[int, int]]) -> None:
    call = Call()
    for sound, pause in spurts:
        call.run(sound, hear=voice())
        call.run(pause)
    found = [m.ts for m in marks(call)]
    assert found == sorted(set(found))


def test_a_leg_that_an_earlier_edge_heard_is_marked_until_it_is_heard() -> None:
    """A turn that was open when the edge died ends, though nothing more comes."""
    call = Call()
    call.session.expect(LastHeard(LEG, 80_000, 400, 0))
    call.run(RETURN_US // TICK_US)
    assert marks(call) == []
    call.run(100)
    found = marks(call)
    assert found and found[0].ts > 80_000 and found[0].seq == 400
    call.session.close(call.n * TICK_US)
    assert [x.ts for x in call.logged if isinstance(x, LegEnd) and x.leg is LEG] == [80_000]


def test_an_expected_leg_that_comes_back_at_once_is_not_silent() -> None:
    call = Call()
    call.session.expect(LastHeard(LEG, 80_000, 400, 0))
    for n in range(100):
        frame = Frame(LEG, 400 + n, 80_000 + 160 * n, voice(), "pcmu", 0)
        call.session.heard((frame,), n * TICK_US)
        call.session.tick(n, n * TICK_US)
    assert marks(call) == []


@pytest.mark.parametrize("turn_ms", [300, 500, 800, 2000])
def test_marks_stay_close_until_a_turn_must_have_ended(turn_ms: int) -> None:
    schedule, dense, last_us = SilenceMarks(turn_ms), 0, 0
    for now_us in range(0, 10_000_000, TICK_US):
        if schedule.due(0, now_us, RTP_SILENCE):
            if now_us <= (turn_ms + 500) * 1000:
                assert now_us - last_us <= max(RTP_SILENCE.wait_us, 100_000)
                dense += 1
            last_us = now_us
    assert dense >= turn_ms // 100


def test_a_new_leg_has_marks_of_its_own() -> None:
    call = Call()
    call.run(10, hear=voice())
    other = Leg("customer", 8, 2**32, 200, 8000)
    frame = Frame(other, 0, 2**32, voice(), "pcmu", 0)
    call.session.heard((frame,), call.n * TICK_US)
    call.run(30)
    assert marks(call) and all(m.leg is other and m.ts > 2**32 for m in marks(call))
