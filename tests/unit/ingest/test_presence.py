"""Media that is gone: one-way audio, half-closed calls, and who is merely silent."""

import pytest

from ingest.sound.pacer import TICK_US
from ingest.sound.presence import (
    CUT_US,
    HALF_CLOSED_US,
    ONE_WAY_US,
    SILENT_US,
    Presence,
    fault_at_end,
    fault_of,
)
from ingest.sound.session import LastHeard
from tests.unit.ingest.test_edge_session import LEG, SILENCE, Call, say

S = 1_000_000


@pytest.mark.parametrize(
    ("presence", "fault"),
    [
        (Presence(False, 20 * S, None, False), None),  # it rings, or nobody has spoken
        (Presence(False, 20 * S, ONE_WAY_US, False), None),
        (Presence(False, 20 * S, ONE_WAY_US + 1, False), "one_way_audio"),
        (Presence(False, 20 * S, ONE_WAY_US + 1, True), None),
        (Presence(False, SILENT_US + 1, None, False), "failed"),
        (Presence(True, HALF_CLOSED_US, 90 * S, False), None),
        (Presence(True, HALF_CLOSED_US + 1, 90 * S, False), "half_closed"),
        (Presence(True, HALF_CLOSED_US + 1, None, False), None),  # only recorded
        (Presence(True, HALF_CLOSED_US + 1, 90 * S, True), None),  # a person talks elsewhere
        (Presence(True, SILENT_US + 1, 400 * S, True), "half_closed"),
    ],
)
def test_the_rule(presence: Presence, fault: str | None) -> None:
    assert fault_of(presence) == fault


def after(call: Call, seconds: int) -> str | None:
    call.run(seconds * 50)
    return call.session.fault(call.n * TICK_US, False)


def test_we_speak_and_nothing_ever_comes() -> None:
    call = Call()
    assert after(call, 30) is None, "before we speak, it may ring"
    call.session.play(say("a", 2000))
    assert after(call, 9) is None
    assert after(call, 2) == "one_way_audio"


def test_one_packet_is_enough_and_then_the_stream_may_stop() -> None:
    call = Call()
    call.session.play(say("a", 2000))
    call.run(1, hear=SILENCE)
    assert after(call, 55) is None
    assert after(call, 10) == "half_closed"


def test_silence_with_comfort_noise_is_no_fault() -> None:
    call = Call()
    call.session.play(say("a", 2000))
    call.run(1, hear=SILENCE)
    for _ in range(400):
        call.wire.alive_us = call.n * TICK_US
        assert after(call, 1) is None


def test_a_far_end_that_an_earlier_edge_heard_is_no_one_way_audio() -> None:
    call = Call()
    call.session.expect(LastHeard(LEG, 1600, 0, 0))
    call.session.play(say("a", 2000))
    assert after(call, 20) is None
    assert after(call, 60) == "half_closed"


@pytest.mark.parametrize(
    ("presence", "fault"),
    [
        (Presence(True, CUT_US + 1, 30 * S, False, steady=True), "half_closed"),
        (Presence(True, CUT_US, 30 * S, False, steady=True), None),
        (Presence(True, CUT_US + 1, 30 * S, False), None),  # a customer who says nothing
        (Presence(True, CUT_US + 1, 30 * S, True, steady=True), None),
        (Presence(False, 20 * S, ONE_WAY_US + 1, False), "one_way_audio"),
        (Presence(False, 20 * S, ONE_WAY_US, False), None),
    ],
)
def test_the_rule_at_a_hang_up(presence: Presence, fault: str | None) -> None:
    assert fault_at_end(presence) == fault


def at_hang_up(call: Call) -> str | None:
    return call.session.fault_at_end(call.n * TICK_US, False)


def test_a_line_that_is_cut_is_told_from_a_customer_who_says_nothing() -> None:
    call = Call()
    call.session.play(say("a", 2000))
    call.run(6 * 50, hear=SILENCE)
    call.run(9 * 50)
    assert at_hang_up(call) is None
    call.run(2 * 50)
    assert at_hang_up(call) == "half_closed" and call.session.fault(call.n * TICK_US, False) is None


def test_a_far_end_that_sends_words_alone_is_never_thought_cut() -> None:
    for words_s in ((1,), (4,), (3, 6)):
        call = Call()
        call.session.play(say("a", 2000))
        for seconds in words_s:
            call.run(seconds * 50, hear=SILENCE)
            call.run(2 * 50)
        call.run(20 * 50)
        assert at_hang_up(call) is None
