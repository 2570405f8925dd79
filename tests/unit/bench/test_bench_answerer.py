"""The labelled set of openings: nobody in a part of it is hung up on, and every beep is told."""

from bench.answerer import OTHER_VOICES, all_words, judge, no_words, samples
from bench.answerer_set import HELD_OUT, JUDGED_ON, WRITTEN_FROM
from streams.robots.answerer import begins_as_recording


def test_no_greeting_is_in_both_sets() -> None:
    texts = [o.text for o in (*WRITTEN_FROM, *JUDGED_ON, *HELD_OUT)]
    assert len(set(texts)) == len(texts)


def test_no_first_words_of_a_person_are_a_recordings() -> None:
    people = [o.text for o in (*WRITTEN_FROM, *JUDGED_ON, *HELD_OUT) if o.who == "human"]
    assert not [t for t in people for n in range(len(t)) if begins_as_recording(t[: n + 1])]


def test_a_carriers_first_words_are_known_within_two_seconds() -> None:
    """Most of them, by a recogniser without errors: half a second late."""
    carriers = [o for o in HELD_OUT if o.who == "announcement"]
    early = [judge(s, all_words).early.who for s in samples(carriers, OTHER_VOICES, 2, every=5)]
    assert early.count("unsure") <= 0.7 * len(early)


def test_people_are_people_and_beeps_are_told() -> None:
    made = list(samples(HELD_OUT, OTHER_VOICES, 2, every=29))
    assert {s.opening.who for s in made} >= {"human", "machine"}
    for sample in made:
        told = judge(sample, no_words)
        if sample.opening.who == "human":
            assert told.last.who in ("human", "unsure"), sample.opening
        if sample.beep_ms is not None:
            assert any(b >= sample.beep_ms for b in told.beeps), sample.opening
        assert told.first_ms <= 2_000
