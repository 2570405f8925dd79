"""The labelled set of openings: nobody in a part of it is hung up on, and every beep is told."""

from bench.answerer import OTHER_VOICES, judge, samples
from bench.answerer_set import JUDGED_ON, WRITTEN_FROM


def test_no_greeting_is_in_both_sets() -> None:
    assert not {o.text for o in WRITTEN_FROM} & {o.text for o in JUDGED_ON}


def test_people_are_people_and_beeps_are_told() -> None:
    made = list(samples(JUDGED_ON, OTHER_VOICES, 2, every=23))
    assert {s.opening.who for s in made} >= {"human", "machine"}
    for sample in made:
        told = judge(sample, with_words=False)
        if sample.opening.who == "human":
            assert told.last.who in ("human", "unsure"), sample.opening
        if sample.beep_ms is not None:
            assert any(b >= sample.beep_ms for b in told.beeps), sample.opening
        assert told.first_ms <= 2_000
