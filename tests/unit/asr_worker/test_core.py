"""The worker without Kafka: texts, times, holes, legs that come and go, and resuming anywhere."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from asr_worker.legs import EXPIRY_MS, BadChunk
from asr_worker.rules import IDLE_GRID, SETTLING, WARM_UP
from schemas import ids
from schemas.events import MediaChunk, Transcript
from tests.unit.asr_worker.material import (
    SENTENCES,
    VOICES,
    MemoryLog,
    Record,
    call_id,
    chunks,
    drain,
    interleave,
    new_core,
    timeline,
    work,
)


def run(records: Sequence[Record], batch: int = 50) -> MemoryLog:
    """An undisturbed run."""
    log = MemoryLog()
    assert work(records, log, batch=batch)
    return log


def one(name: str, texts: Sequence[str], profile: str = "demo") -> list[MediaChunk]:
    """A leg that says some sentences."""
    return chunks(name, timeline(texts)[0], profile=profile)


def test_texts_and_times() -> None:
    sound, spoken = timeline(SENTENCES[:5], "+f3", seed=3)
    finals = run(interleave([(0, chunks("a", sound))])).finals()
    assert [t.text for t in finals] == [s.text for s in spoken]
    for t, s in zip(finals, spoken, strict=True):
        assert t.call_id == call_id("a")
        assert t.customer_id == "customer-a"
        assert t.model == "demo"
        assert t.utterance_id == ids.utterance_id(t.call_id, "customer", 7, (t.start_ms - 1000) * 8)
        assert t.event_id == ids.event_id(t.utterance_id, "final")
        assert abs(t.start_ms - 1000 - s.start / 8) < 300
        assert abs(t.end_ms - 1000 - s.end / 8) < 200
        assert 500 <= t.mark / 8 - (t.end_ms - 1000) < 700
        assert t.occurred_at == 1_700_000_000_000 + t.mark // 8
        assert "".join(token.text for token in t.tokens) == s.text
        times = [token.start_ms for token in t.tokens]
        assert times == sorted(times)
        assert s.start / 8 - 100 < times[0] - 1000
        assert times[-1] - 1000 < s.end / 8 + 500
        assert t.gaps_ms == []


def test_partials_grow_into_the_final() -> None:
    log = run(interleave([(0, one("a", ["我要考虑一下"]))]))
    partials = [t for _, t in log.transcripts if t.kind == "partial"]
    (final,) = log.finals()
    assert len(partials) >= 3
    assert len({t.event_id for t in partials}) == len(partials)
    assert {t.utterance_id for t in partials} == {final.utterance_id}
    assert all(a.text != b.text for a, b in zip(partials, partials[1:], strict=False))
    assert all(b.end_ms - a.end_ms >= 192 for a, b in zip(partials, partials[1:], strict=False))
    assert partials[-1].text[:3] == final.text[:3]
    assert all(t.mark <= final.mark for t in partials)


def test_batches_and_chunk_sizes_change_nothing() -> None:
    sounds = [timeline(SENTENCES[k : k + 3], VOICES[k], seed=k, snr_db=15)[0] for k in range(4)]

    def result(size: int, batch: int, alone: bool) -> dict[str, tuple[object, ...]]:
        legs = [chunks(str(k), s, size=size) for k, s in enumerate(sounds)]
        groups = [[leg] for leg in legs] if alone else [legs]
        out: dict[str, tuple[object, ...]] = {}
        for group in groups:
            log = run(interleave([(3 * i, leg) for i, leg in enumerate(group)]), batch)
            for key, t in log.first_by_id().items():
                out[key] = (t.text, t.start_ms, t.end_ms, t.mark, tuple(t.tokens))
        return out

    expected = result(800, 50, alone=False)
    assert len(expected) > 12
    assert result(800, 1, alone=False) == expected
    assert result(800, 10_000, alone=True) == expected
    assert result(333, 77, alone=False) == expected


@pytest.fixture(scope="module")
def busy_partition() -> list[Record]:
    """Six calls at once: short ones, one with a long silence, one that never ends, one of 16 kHz,
    one with a hole."""
    sounds = [timeline(SENTENCES[k : k + 3], VOICES[k % 6], seed=k, snr_db=15)[0] for k in range(6)]
    quiet = np.zeros(30 * 8000, np.int16)
    sounds[2] = np.concatenate([sounds[2], quiet, timeline(["你好"], seed=9)[0]])
    legs = [chunks(str(k), s, silence_ms=300 + 100 * k, end=k != 4) for k, s in enumerate(sounds)]
    legs[5] = chunks("5", sounds[5], drop=range(41, 44))
    wide = soxr.resample(sounds[3], 8000, 16_000)
    legs[3] = chunks("3", wide, size=1600, codec="l16", rate_hz=16_000, leg_start_ts=15_999)
    return interleave([(7 * k, leg) for k, leg in enumerate(legs)])


def test_restarts_anywhere_change_nothing(busy_partition: list[Record]) -> None:
    expected = run(busy_partition).first_by_id()
    assert sum(t.kind == "final" for t in expected.values()) >= 16
    finals = {i: t for i, t in expected.items() if t.kind == "final"}
    for seed in range(5):
        dice = random.Random(seed)
        log = MemoryLog()
        deaths = 0
        while not work(
            busy_partition,
            log,
            batch=dice.choice([3, 20, 60]),
            die_after=dice.randint(20, 400) if deaths < 12 else None,
            die_before_publishing=dice.random() < 0.5,
        ):
            deaths += 1
        assert deaths >= 5
        assert {t.event_id: t for t in log.finals()} == finals
        assert log.first_by_id().keys() == expected.keys()
        for _, t in log.transcripts:  # also what was said twice was said the same way
            assert t.model_copy(update={"decode_ms": 0.0}) == expected[t.event_id]


def test_the_commit_follows_closely_but_never_passes_an_open_turn() -> None:
    sounds = [timeline(SENTENCES[k : k + 3], VOICES[k], seed=k)[0] for k in range(3)]
    sounds[1] = np.concatenate([sounds[1], np.zeros(30 * 8000, np.int16)])
    records = interleave([(7 * k, chunks(str(k), s)) for k, s in enumerate(sounds)])
    core = new_core()
    core.assign(0, {})
    longest_ms = 0
    for record in records:
        core.accept(0, record.offset, record.timestamp_ms, record.chunk)
        list(drain(core))
        offset = core.commit_offsets()[0]
        assert offset <= record.offset + 1
        if offset <= record.offset:
            longest_ms = max(longest_ms, record.timestamp_ms - records[offset].timestamp_ms)
    assert longest_ms < 9_300 + 2_500  # idle grid and warm-up, and a turn over the grid's point
    assert core.commit_offsets() == {0: len(records)}


def test_small_holes_are_filled_and_large_ones_marked() -> None:
    sound, spoken = timeline(["我要考虑一下"], "+f3", snr_db=None)
    number = (spoken[0].start + 2400) // 800
    small = chunks("a", sound, size=160, drop=[5 * number])
    large = chunks("b", sound, size=160, drop=range(5 * number, 5 * number + 4))
    (a,), (b,) = (run(interleave([(0, leg)])).finals() for leg in (small, large))
    assert a.gaps_ms == []
    assert b.gaps_ms == [80]
    assert a.start_ms == b.start_ms
    assert a.text == "我要考虑一下"


@pytest.mark.parametrize("hole_s", [20, 47, 100_000])
def test_a_long_hole_is_as_good_as_silence(hole_s: int) -> None:
    first, second = (timeline([text], "+f3", snr_db=None)[0] for text in ("你好", "我没有钱还"))
    shift = len(first) + hole_s * 8000
    legs = chunks("a", first, end=False)
    legs += [
        c.model_copy(update={"rtp_ts": c.rtp_ts + shift}) for c in chunks("a", second)
    ]  # fmt: skip
    holed = run([Record(i, 1_000_000, c) for i, c in enumerate(legs)]).finals()
    assert [t.text for t in holed] == ["你好", "我没有钱还"]
    assert holed[1].gaps_ms == []
    if hole_s < 60:
        silence = np.zeros(hole_s * 8000, np.int16)
        whole = chunks("a", np.concatenate([first, silence, second]), codec="l16")
        exact = [c.model_copy(update={"codec": "l16"}) for c in whole]
        compare = run(interleave([(0, exact)])).finals()
        lossless = chunks("a", first, codec="l16", end=False)
        lossless += [
            c.model_copy(update={"rtp_ts": c.rtp_ts + shift})
            for c in chunks("a", second, codec="l16")
        ]
        again = run([Record(i, 1_000_000, c) for i, c in enumerate(lossless)]).finals()
        same = [(t.text, t.start_ms, t.end_ms, t.mark) for t in again]
        assert same == [(t.text, t.start_ms, t.end_ms, t.mark) for t in compare]


def test_the_end_of_a_leg_closes_its_turn() -> None:
    sound, spoken = timeline(["我要考虑一下"], "+f3")
    cut = sound[: spoken[0].end + 400]
    (final,) = run(interleave([(0, chunks("a", cut))])).finals()
    assert final.text == "我要考虑一下"
    assert final.mark == len(cut)
    assert final.end_ms - 1000 <= len(cut) / 8


def test_a_leg_that_falls_silent_expires_and_frees_the_commit() -> None:
    sound, spoken = timeline(["我要考虑一下"], "+f3")
    silent = chunks("a", sound[: spoken[0].end], end=False)
    other = chunks("b", np.zeros((EXPIRY_MS + 15_000) * 8, np.int16))
    records = interleave([(0, silent), (0, other)])
    log = run(records)
    assert [t.text for t in log.finals()] == ["我要考虑一下"]
    assert log.committed == records[-1].offset + 1
    assert run(records, batch=1).first_by_id() == log.first_by_id()


def test_a_new_ssrc_is_a_new_leg() -> None:
    sound, spoken = timeline(["我要考虑一下"], "+f3")
    old = chunks("a", sound[: spoken[0].end], end=False, ssrc=7)
    new = chunks("a", sound, ssrc=8, leg_start_ts=5)
    late = old[3:4]
    records = [Record(i, 1_000_000 + i, c) for i, c in enumerate(old + new + late)]
    log = run(records)
    assert [(t.ssrc, t.text) for t in log.finals()] == [(7, "我要考虑一下"), (8, "我要考虑一下")]
    assert len({t.utterance_id for t in log.finals()}) == 2
    assert log.committed == len(records)


def test_duplicates_and_late_chunks_change_nothing() -> None:
    leg = one("a", SENTENCES[:2])
    expected = run(interleave([(0, leg)])).first_by_id()
    doubled = [c for chunk in leg[:-1] for c in (chunk, chunk)] + leg[5:9] + leg[-1:]
    log = run([Record(i, 1_000_000 + i, c) for i, c in enumerate(doubled)])
    assert log.first_by_id() == expected


def test_other_legs_are_not_transcribed() -> None:
    log = run(interleave([(0, chunks("a", timeline(["你好"])[0], leg="robot"))]))
    assert log.transcripts == []
    assert log.committed > 10


def test_a_wanted_silence_is_per_chunk() -> None:
    sound, spoken = timeline(["你好", "我很忙"], "+f3", pause_ms=(700, 710))
    short = chunks("a", sound, silence_ms=300)
    long = chunks("a", sound, silence_ms=1000)
    assert len(run(interleave([(0, short)])).finals()) == 2
    assert len(run(interleave([(0, long)])).finals()) == 1
    mixed = long[: (spoken[1].end) // 800] + short[(spoken[1].end) // 800 :]
    (final,) = run(interleave([(0, mixed)])).finals()
    assert final.mark / 8 - (final.end_ms - 1000) < 500


def test_16_khz_lines_are_heard_too() -> None:
    sound, spoken = timeline(SENTENCES[:4], "+f3", seed=5)
    wide = soxr.resample(sound, 8000, 16_000)
    narrow = run(interleave([(0, chunks("a", sound))])).finals()
    leg = chunks("a", wide, size=1600, codec="l16", rate_hz=16_000)
    finals = run(interleave([(0, leg)])).finals()
    assert [t.text for t in finals] == [s.text for s in spoken]
    for a, b in zip(finals, narrow, strict=True):
        assert abs(a.start_ms - b.start_ms) <= 64
        assert abs(a.end_ms - b.end_ms) <= 64
    holed = chunks("a", wide, size=1600, codec="l16", rate_hz=16_000, drop=[spoken[1].start // 800])
    assert [t.gaps_ms for t in run(interleave([(0, holed)])).finals()] == [[], [100], [], []]


def test_unknown_profiles_get_the_default() -> None:
    (final,) = run(interleave([(0, one("a", ["你好"], profile="nonesuch"))])).finals()
    assert final.model == "demo"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"rate_hz": 44_100}, "rate is 44100 Hz"),
        ({"rtp_ts": 15_999}, "begins 1 samples before"),
        ({"codec": "l16", "payload": b"odd"}, "multiple"),
        ({"rtp_ts": 2**63 - 1, "leg_start_ts": -(2**40)}, "no leg is that long"),
        ({"rtp_ts": 2**40}, "no leg is that long"),
        ({"kind": "silent", "rtp_ts": 2**63 - 1}, "no leg is that long"),
        ({"kind": "end", "rtp_ts": -(2**63)}, "before its leg"),
        ({"leg_start_ms": 2**63 - 1}, "no call is that long"),
        ({"occurred_at": 2**63 - 1}, "no time"),
        ({"occurred_at": -1}, "no time"),
    ],
)
def test_chunks_that_cannot_be_right_are_refused(change: dict[str, object], why: str) -> None:
    core = new_core()
    core.assign(0, {})
    bad = chunks("a", np.zeros(800, np.int16))[0].model_copy(update=change)
    with pytest.raises(BadChunk, match=why):
        core.accept(0, 5, 1_000_000, bad)
    assert core.commit_offsets() == {0: 6}


@pytest.mark.parametrize("name", ["rtp_ts", "leg_start_ts", "leg_start_ms"])
@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 2**53])
def test_absurd_clocks_are_no_events(name: str, value: int) -> None:
    """They used to overflow in the turn bank, outside the dead-letter path, at every start."""
    good = chunks("a", np.zeros(800, np.int16))[0].model_dump()
    MediaChunk.model_validate(good)
    with pytest.raises(ValidationError, match=name):
        MediaChunk.model_validate(good | {name: value})


@given(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["chunk", "silent", "end"]),
            "rtp_ts": st.integers(-(2**53) + 1, 2**53 - 1) | st.integers(0, 2**20),
            "leg_start_ts": st.integers(-(2**53) + 1, 2**53 - 1) | st.integers(0, 2**20),
            "leg_start_ms": st.integers(-(2**53) + 1, 2**53 - 1) | st.integers(0, 10_000),
            "occurred_at": st.integers(0, 253_402_300_799_999) | st.just(1_700_000_000_000),
            "turn_silence_ms": st.integers(-(2**63), 2**63 - 1) | st.just(500),
            "rate_hz": st.sampled_from([8_000, 16_000]),
            "codec": st.sampled_from(["pcmu", "pcma", "l16"]),
            "payload": st.binary(max_size=400),
        }
    )
)
@settings(max_examples=80, deadline=None)
def test_whatever_a_record_says_it_is_heard_or_refused(said: dict[str, object]) -> None:
    good = chunks("a", np.full(800, 200, np.int16))
    core = new_core()
    core.assign(0, {})
    odd = MediaChunk.model_validate(good[0].model_dump() | said)
    for offset, chunk in enumerate([good[0], odd, good[1]]):
        try:
            core.accept(0, offset, 1_000_000, chunk)
        except BadChunk:
            assert chunk is odd
    for output in drain(core):
        assert abs(output.transcript.start_ms) < 2**62
    assert core.commit_offsets()[0] <= 3


def test_a_partition_can_be_taken_away() -> None:
    core = new_core()
    leg = one("a", ["你好", "我很忙"])
    core.assign(0, {})
    core.assign(1, {})
    for i, chunk in enumerate(leg[: len(leg) // 2]):
        core.accept(0, i, 1_000_000 + i, chunk)
        core.accept(1, i, 1_000_000 + i, chunk)
    list(drain(core))
    core.revoke(0)
    assert core.partitions == [1]
    for i, chunk in enumerate(leg[len(leg) // 2 :], len(leg) // 2):
        core.accept(1, i, 1_000_000 + i, chunk)
    rest = [o for o in drain(core) if o.transcript.kind == "final"]
    assert {o.partition for o in rest} == {1}
    assert rest[-1].transcript.text == "我很忙"
    assert core.legs == 0


def test_a_leg_met_in_its_middle_without_a_mark_begins_on_the_idle_grid() -> None:
    leg = one("a", SENTENCES * 2)
    core = new_core()
    core.assign(0, {})
    for i, chunk in enumerate(leg[20:]):
        core.accept(0, i, 1_000_000 + i, chunk)
    finals: list[Transcript] = [o.transcript for o in drain(core) if o.transcript.kind == "final"]
    begin = -(-(20 * 800 + SETTLING + WARM_UP) // IDLE_GRID) * IDLE_GRID
    expected = [t for t in run(interleave([(0, leg)])).finals() if (t.start_ms - 1000) * 8 > begin]
    assert [t.text for t in finals][-len(expected) + 1 :] == [t.text for t in expected][1:]
    assert all((t.start_ms - 1000) * 8 >= begin for t in finals)
