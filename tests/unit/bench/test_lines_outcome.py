"""What the benchmark of lines makes of delays."""

from bench.lines.caller import Heard
from bench.lines.run import outcome_of


def test_delays_meet_their_budgets_or_not_and_missing_ones_are_told() -> None:
    ours = [Heard(400.0, 100.0 + n, [450.0, 460.0]) for n in range(20)]
    ours[3] = Heard(500.0, None, [None])
    outcome = outcome_of(ours, [Heard(11.0, 1.0, [2.0])] * 5, [0.5, 0.7], {"rtp": [3.0, 18.0]})
    by_name = {m.what: m for m in outcome.measures}
    assert by_name["answer to the robot's first voice, p95"].met
    assert by_name["voice onset to the robot's silence, p95"].ours == 119.0
    assert by_name["end of speech to the robot's answer, median"].met
    assert "floor 1 ms" in by_name["voice onset to the robot's silence, p95"].note
    assert any("1 of 20 times it never came" in note for note in outcome.notes)
    assert by_name["the edge's clear to silence by rtp, p95"].ours == 18.0
    assert by_name["the edge's clear to silence by rtp, p95"].met
    assert any("median 0.5 ms" in note for note in outcome.notes)


def test_a_slow_robot_misses_its_budget() -> None:
    late = {"websocket": [120.0, None]}
    outcome = outcome_of([Heard(1_200.0, 350.0, [900.0])] * 3, [Heard(1.0, 1.0, [1.0])], [], late)
    assert [m.met for m in outcome.measures] == [False] * 5
    assert "websocket, p95: 1 of 2 times it never came" in outcome.notes[0]


def test_nothing_heard_gives_no_figure() -> None:
    outcome = outcome_of([Heard(end_to_voice=[None])], [Heard(1.0, 1.0, [1.0])], [], {})
    assert outcome.measures == []
    assert len([n for n in outcome.notes if "1 of 1 times it never came" in n]) == 4
