"""Legs that fall silent: turns end by marks on the log, and what comes later is heard in full."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asr_worker.legs import EXPIRY_MS
from asr_worker.resume import Resume, parse
from asr_worker.rules import IDLE_GRID, LATEST, SETTLING, WARM_UP
from ringlog.audio.g711 import Int16
from schemas import ids
from schemas.events import MediaChunk, Transcript
from tests.unit.asr_worker.material import (
    MemoryLog,
    Record,
    chunks,
    drain,
    new_core,
    timeline,
    utterance,
    work,
)

LATE_MS = 100
"""How far behind the present the edge's marks stay."""

TEXT = "价格太高了"


def mark_after(chunk: MediaChunk, to: int, silence_ms: int | None = None) -> MediaChunk:
    """The mark that a leg of a chunk is silent up to leg sample `to`."""
    ts = chunk.leg_start_ts + to
    return chunk.model_copy(
        update={
            "kind": "silent",
            "event_id": ids.media_chunk_id(chunk.call_id or "", "customer|silent", ts),
            "occurred_at": 1_700_000_000_000 + to // 8,
            "rtp_ts": ts,
            "payload": b"",
            "turn_silence_ms": silence_ms or chunk.turn_silence_ms,
        }
    )


def marks(chunk: MediaChunk, heard_to: int, until: int) -> list[tuple[int, MediaChunk]]:
    """The edge's marks after sound up to `heard_to`, until a sample: when, in ms, and what."""
    found, quiet_ms, wait_ms = [], 200, 100
    while heard_to + quiet_ms * 8 <= until:
        to = heard_to + (quiet_ms - LATE_MS) * 8
        found.append((heard_to // 8 + quiet_ms, mark_after(chunk, to)))
        if quiet_ms >= 200 + chunk.turn_silence_ms + 700:
            wait_ms = min(2 * wait_ms, 4_000)
        quiet_ms += wait_ms
    return found


def suppressed(
    name: str, spurts: Sequence[tuple[int, Int16]], tail_ms: int = 3_000, **options: object
) -> list[tuple[int, MediaChunk]]:
    """A leg that sends only its talk spurts, each at its sample, with the edge's marks between."""
    found: list[tuple[int, MediaChunk]] = []
    for n, (at, sound) in enumerate(spurts):
        spurt = [
            c.model_copy(
                update={
                    "rtp_ts": c.rtp_ts + at,
                    "event_id": ids.media_chunk_id(c.call_id or "", "customer", c.rtp_ts + at),
                    "occurred_at": c.occurred_at + at // 8,
                }
            )
            for c in chunks(name, sound, end=False, **options)  # type: ignore[arg-type]  # a test's
        ]
        found += [((c.rtp_ts - c.leg_start_ts + len(c.payload)) // 8, c) for c in spurt]
        heard_to = at + len(sound)
        until = spurts[n + 1][0] if n + 1 < len(spurts) else heard_to + tail_ms * 8
        found += marks(spurt[-1], heard_to, until)
    return found


def on_log(*legs: list[tuple[int, MediaChunk]]) -> list[Record]:
    """One partition's log, by time."""
    queue = sorted(
        ((at, n, c) for n, leg in enumerate(legs) for at, c in leg), key=lambda item: item[:2]
    )
    return [Record(i, 1_000_000 + at, c) for i, (at, _, c) in enumerate(queue)]


def run(records: Sequence[Record], batch: int = 50) -> MemoryLog:
    """An undisturbed run."""
    log = MemoryLog()
    assert work(records, log, batch=batch)
    return log


def same_whatever_happens(records: Sequence[Record], seeds: range, most_deaths: int = 8) -> None:
    """Batches and restarts anywhere give the same records."""
    expected = run(records).first_by_id()
    for batch in (1, 10_000):
        assert run(records, batch).first_by_id() == expected
    for seed in seeds:
        dice = random.Random(seed)
        log, deaths = MemoryLog(), 0
        while not work(
            records,
            log,
            batch=dice.choice([3, 20, 60]),
            die_after=dice.randint(5, max(6, len(records) // 2)) if deaths < most_deaths else None,
            die_before_publishing=dice.random() < 0.5,
        ):
            deaths += 1
        assert log.first_by_id() == expected
        for _, t in log.transcripts:
            assert t.model_copy(update={"decode_ms": 0.0}) == expected[t.event_id]


def decided_ms(records: Sequence[Record]) -> dict[str, int]:
    """Log time at which each final came, read record by record."""
    core = new_core()
    core.assign(0, {})
    found: dict[str, int] = {}
    for record in records:
        core.accept(0, record.offset, record.timestamp_ms, record.chunk)
        for output in drain(core):
            if output.transcript.kind == "final":
                found.setdefault(output.transcript.text, record.timestamp_ms - 1_000_000)
    return found


@pytest.mark.parametrize("silence_ms", [300, 500, 800, 1_500])
@pytest.mark.parametrize("voice", ["+f3", "+m4"])
def test_T1_a_turn_ends_in_its_time_though_no_packet_arrives(silence_ms: int, voice: str) -> None:
    sound = np.concatenate([np.zeros(8_000, np.int16), utterance(TEXT, voice)])
    sound = sound[: len(sound) // 160 * 160]  # whole packets
    records = on_log(suppressed("a", [(0, sound)], 8_000, silence_ms=silence_ms))
    at = decided_ms(records)
    last_ms = len(sound) // 8
    assert silence_ms - 100 <= at[TEXT] - last_ms <= silence_ms + 200
    (final,) = run(records).finals()
    assert abs(final.end_ms - 1_000 - last_ms) < 150
    assert final.occurred_at <= 1_700_000_000_000 + last_ms + silence_ms
    assert final.gaps_ms == []


def test_T1_the_next_spurt_is_heard_from_its_first_word_on() -> None:
    spurts = [(0, utterance(TEXT, "+f3")), (12 * 8000, utterance("我没有钱还", "+f3"))]
    log = run(on_log(suppressed("a", spurts)))
    assert [t.text for t in log.finals()] == [TEXT, "我没有钱还"]
    assert abs(log.finals()[1].start_ms - 1_000 - 12_000) < 150
    assert [t.gaps_ms for t in log.finals()] == [[], []]  # silence is no loss


def test_a_pause_shorter_than_the_turns_silence_ends_nothing() -> None:
    sound = utterance("我要考虑一下", "+f3")
    cut = len(sound) // 2 // 160 * 160
    spurts = [(0, sound[:cut]), (cut + 300 * 8, sound[cut:])]
    (final,) = run(on_log(suppressed("a", spurts))).finals()
    assert final.text[:3] == "我要考"  # the cut goes through the fourth
    assert final.text[-2:] == "一下"


@pytest.mark.parametrize("late_ms", [300, 650, 1_500, 4_000])
def test_sound_that_comes_after_its_mark_keeps_its_place(late_ms: int) -> None:
    """The network stalls amid a sentence: the edge marks silence, then the rest comes at once."""
    whole, spoken = timeline([TEXT, "我没有钱还"], "+f3", seed=2, pause_ms=(600, 601))
    leg = chunks("a", whole, end=False)
    cut = (spoken[1].start + 1_600) // 800
    before = [((c.rtp_ts - c.leg_start_ts + 800) // 8, c) for c in leg[:cut]]
    stalled = marks(leg[cut - 1], cut * 800, cut * 800 + late_ms * 8)
    after = [(max(cut * 100 + late_ms, (n + 1) * 100), c) for n, c in enumerate(leg[cut:], cut)]
    records = on_log(before + stalled + after)
    finals = run(records).finals()
    assert finals[0].text == TEXT
    assert all(a.end_ms <= b.start_ms for a, b in zip(finals, finals[1:], strict=False))
    heard = [token for t in finals[1:] for token in t.tokens]
    if late_ms < 600:
        assert "".join(token.text for token in heard) == "我没有钱还"
    assert {"钱", "还"} <= {token.text for token in heard}
    for token in heard:
        assert spoken[1].start // 8 - 200 < token.start_ms - 1_000 < spoken[1].end // 8 + 300
    assert finals[-1].end_ms - 1_000 > spoken[1].end // 8 - 150
    same_whatever_happens(records, range(2))


def test_one_stale_packet_after_a_hold_moves_nothing() -> None:
    """T5: the first packet after a hold has the old next timestamp, then the clock jumps."""
    first, second = utterance(TEXT, "+f3"), utterance("我没有钱还", "+f3")
    begin = len(first) + 10 * 8000
    leg = suppressed("a", [(0, first), (begin, second)])
    stale = suppressed("a", [(len(first), np.full(160, 500, np.int16))])[0][1]
    leg.append((begin // 8, stale))
    records = on_log(leg)
    finals = run(records).finals()
    assert [t.text for t in finals] == [TEXT, "我没有钱还"]
    assert abs(finals[1].start_ms - 1_000 - begin / 8) <= 100
    same_whatever_happens(records, range(2))


def test_marked_legs_live_and_free_the_commit() -> None:
    """Ten minutes of silence: the leg does not expire, and holds the commit by some seconds."""
    spurts = [(0, utterance(TEXT, "+f3")), (600 * 8000, utterance("我没有钱还", "+f3"))]
    records = on_log(suppressed("a", spurts))
    assert [t.text for t in run(records).finals()] == [TEXT, "我没有钱还"]
    core = new_core()
    core.assign(0, {}, Resume(0))
    for record in records:
        core.accept(0, record.offset, record.timestamp_ms, record.chunk)
        list(drain(core))
        held = records[min(core.commit_offsets()[0], record.offset)]
        lag = (record.timestamp_ms - held.timestamp_ms) * 8
        assert lag <= LATEST + IDLE_GRID + WARM_UP + SETTLING + 8 * 5_000
        assert core.legs == 1
    same_whatever_happens(records, range(3))


def test_a_leg_that_is_first_met_at_a_mark_goes_on_as_it_was() -> None:
    """Two deaths near each other at every place of a long silence, a commit after every record."""
    spurts = [(0, utterance(TEXT, "+f3")), (33 * 8000, utterance("我没有钱还", "+f3"))]
    records = on_log(suppressed("a", spurts, 1_000))
    expected = run(records).first_by_id()
    assert len(expected) > 4
    for die_after in range(25, len(records)):
        log = MemoryLog()
        assert not work(records, log, batch=1, die_after=die_after)
        work(records, log, batch=1, die_after=1 + die_after % 6)
        assert work(records, log, batch=4)
        assert log.first_by_id() == expected


def test_marks_of_silent_legs_cost_no_detector() -> None:
    class Counting:
        frames = 0

        def run(self, frames: object, state: object) -> tuple[object, object]:
            Counting.frames += len(frames)  # type: ignore[arg-type]  # an array
            return np.zeros(len(frames), np.float32), state  # type: ignore[arg-type]

    from asr_worker.core import Core
    from tests.unit.asr_worker.material import recognisers

    core = Core(recognisers(), Counting())  # type: ignore[arg-type]
    core.assign(0, {}, Resume(0))
    records = on_log(suppressed("a", [(0, np.zeros(8_000, np.int16))], 300_000))
    for record in records:
        core.accept(0, record.offset, record.timestamp_ms, record.chunk)
        list(drain(core))
    assert len(records) < 120
    # Of 9,400 frames in 300 s: the first second, two spans of the idle grid, and the last part.
    assert Counting.frames < 3 * IDLE_GRID // 256 + 100


def test_T1_silence_suppression_survives_batches_and_kills() -> None:
    dice = np.random.default_rng(5)
    texts = ("你好", TEXT, "我不需要", "好的谢谢")
    legs = []
    for k in range(4):
        at, spurts = int(dice.integers(0, 20_000)), []
        for text in texts[k:] + texts[:k]:
            sound = utterance(text, ("+f3", "+m4", "+f5", "+m8")[k])
            spurts.append((at, sound))
            at += len(sound) + int(dice.integers(300, 14_000)) * 8
        spurts[0] = (0, np.concatenate([np.zeros(spurts[0][0], np.int16), spurts[0][1]]))
        legs.append(suppressed(str(k), spurts, silence_ms=300 + 200 * k))
    same_whatever_happens(on_log(*legs), range(4))


@given(st.floats(0, 600), st.booleans(), st.integers(0, 10_000))
@example(63.3, False, 1)
@example(60.0, False, 2)
@settings(max_examples=6, deadline=None)
def test_speech_after_any_gap_is_heard_whatever_restarts(
    gap_s: float, marked: bool, seed: int
) -> None:
    """After a minute without packets a leg was over; its next two sentences were lost."""
    begin = int(gap_s * 50) * 160
    after = timeline([TEXT, "我没有钱还"], "+f3", seed=3, snr_db=None, pause_ms=(900, 901))[0]
    first = np.concatenate([utterance("你好", "+f3"), np.zeros(800 * 8, np.int16)])
    leg = suppressed("a", [(0, first), (len(first) + begin, after[7_200:])])
    if not marked:
        leg = [(at, c) for at, c in leg if c.kind != "silent"]
    other = suppressed("b", [(0, utterance("好的谢谢", "+m4"))], 3_000)
    records = on_log(leg, other)
    texts = [t.text for t in run(records).finals() if t.customer_id == "customer-a"]
    assert "".join(texts) == f"你好{TEXT}我没有钱还"
    same_whatever_happens(records, range(seed, seed + 2), most_deaths=4)


def test_a_leg_that_resumes_after_its_expiry_stays_known_over_restarts() -> None:
    """Every place of a kill, and a commit held back by another leg's open turn."""
    first = utterance("你好", "+f3")
    begin = len(first) + (EXPIRY_MS + 3_300) * 8
    after = timeline([TEXT], "+f3", seed=3, snr_db=None, pause_ms=(0, 1))[0]
    leg = [x for x in suppressed("a", [(0, first), (begin, after)]) if x[1].kind != "silent"]
    speech = np.concatenate([utterance("我要考虑一下", "+m4")] * 4)
    other = [(begin // 8 - 500 + at, c) for at, c in suppressed("b", [(0, speech)], 3_000)]
    records = on_log(leg, other)
    expected = run(records).first_by_id()
    assert TEXT in {t.text for t in expected.values()}
    for die_after in range(1, len(records), 3):
        log = MemoryLog()
        assert not work(records, log, batch=5, die_after=die_after)
        assert work(records, log, batch=11)
        assert log.first_by_id() == expected


def test_a_commit_of_an_older_version_says_nothing_and_is_gone_on_from() -> None:
    for text in (None, "", "x", "5,6", "-1", "1,,2", "١", "9" * 5_000):
        assert parse(text) is None
    for resume in (Resume(0), Resume(70, frozenset({3, 69}))):
        assert parse(resume.text()) == resume
    many = Resume(10**9, frozenset(range(0, 10**9, 10**6)))
    kept = parse(many.text())
    assert kept is not None
    assert len(many.text()) <= 4_000
    assert kept.fresh < many.fresh


def test_a_straggler_of_an_older_source_does_not_end_the_newer() -> None:
    sound = timeline([TEXT], "+f3")[0]
    newer = [c.model_copy(update={"leg_start_ms": 9_000}) for c in chunks("a", sound, ssrc=8)]
    stale = chunks("a", sound, ssrc=7)[5]
    order = [*newer[:10], stale, *newer[10:]]
    finals: list[Transcript] = run(
        [Record(i, 1_000_000 + i, c) for i, c in enumerate(order)]
    ).finals()
    assert [(t.ssrc, t.text) for t in finals] == [(8, TEXT)]
