"""Turn ends: the bank against a plain reference, whatever the chunks, the company and the holes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_worker.bank import ROUND, Closed, Opened, Thresholds, TurnBank
from asr_worker.detector import shared
from asr_worker.rules import (
    FRAME,
    IDLE_GRID,
    LONGEST_TURN,
    SETTLING,
    WARM_UP,
    first_begin,
    held_from,
    needed_from,
)
from ringlog.audio.g711 import Int16
from tests.unit.asr_worker.material import SENTENCES, VOICES, timeline
from tests.unit.asr_worker.reference import turns

DEMO = Thresholds(500, 0.5, 0.35, 400, "demo")
PEOPLE = Thresholds(800, 0.3, 0.3, 800, "zh")


def legs(count: int, snr_db: float = 15.0) -> list[Int16]:
    """Different calls, one a voice."""
    return [
        timeline([SENTENCES[(2 * i + k) % 12] for k in range(3)], VOICES[i % 6], seed=i,
                 snr_db=snr_db)[0]
        for i in range(count)
    ]  # fmt: skip


def closed_turns(
    sounds: list[Int16], thresholds: list[Thresholds], sizes: list[int]
) -> list[list[tuple[int, int, int]]]:
    """Feed several legs together in chunks of their own sizes."""
    bank = TurnBank(shared(), capacity=1)
    slots = [bank.add(0, 0, t) for t in thresholds]
    at = [0] * len(sounds)
    found: dict[int, list[tuple[int, int, int]]] = {slot: [] for slot in slots}
    while any(a < len(s) for a, s in zip(at, sounds, strict=True)) or bank.backlog().any():
        for i, slot in enumerate(slots):
            size = min(sizes[i], bank.room(slot))
            bank.push(slot, sounds[i][at[i] : at[i] + size])
            at[i] = min(at[i] + size, len(sounds[i]))
        for event in bank.judge():
            if isinstance(event, Closed):
                found[event.slot].append((event.start, event.end, event.mark))
    return [found[slot] for slot in slots]


def test_equals_the_plain_reference() -> None:
    sounds = legs(5)
    thresholds = [DEMO, PEOPLE, DEMO, PEOPLE, DEMO]
    expected = [turns(shared(), s, t) for s, t in zip(sounds, thresholds, strict=True)]
    assert all(len(leg) >= 3 for leg in expected)
    assert closed_turns(sounds, thresholds, [800, 160, 801, 2400, ROUND]) == expected


@given(st.lists(st.integers(1, ROUND), min_size=3, max_size=3), st.permutations(range(3)))
@settings(max_examples=4, deadline=None)
def test_chunk_sizes_and_company_change_nothing(sizes: list[int], order: list[int]) -> None:
    sounds = legs(3)
    sizes = [max(size, 100) for size in sizes]
    together = closed_turns([sounds[i] for i in order], [DEMO] * 3, sizes)
    alone = [closed_turns([sounds[i]], [DEMO], [800])[0] for i in order]
    assert together == alone


def test_speech_is_found_where_it_is() -> None:
    sound, spoken = timeline(SENTENCES[:4], "+f3", seed=4)
    (found,) = closed_turns([sound], [DEMO], [800])
    assert len(found) == 4
    for (start, end, mark), s in zip(found, spoken, strict=True):
        assert abs(start - s.start) < 300 * 8
        assert abs(end - s.end) < 200 * 8
        assert 500 * 8 <= mark - end < 700 * 8


def test_a_turn_without_end_is_cut() -> None:
    speech = timeline(SENTENCES * 3, "+m4", pause_ms=(10, 20))[0]
    (found,) = closed_turns([speech], [DEMO], [800])
    start, _, mark = found[0]
    assert LONGEST_TURN <= mark - start < LONGEST_TURN + FRAME
    assert found == turns(shared(), speech, DEMO)


def test_thresholds_hold_from_their_sample_on() -> None:
    sound, spoken = timeline(SENTENCES[:2], "+f3", seed=4)
    longer = Thresholds(1200, 0.5, 0.35, 400, "demo")

    def marks(sizes: int) -> list[int]:
        bank = TurnBank(shared())
        slot = bank.add(0, 0, DEMO)
        bank.change(slot, spoken[1].start, longer)
        out = []
        for at in range(0, len(sound), sizes):
            bank.push(slot, sound[at : at + sizes])
            while bank.backlog().any():
                out += [e.mark - e.end for e in bank.judge() if isinstance(e, Closed)]
        return out

    first, second = marks(800)
    assert first < 700 * 8
    assert second >= 1200 * 8
    assert marks(5000) == [first, second]


def test_resuming_at_a_mark_finds_the_rest() -> None:
    sound = legs(1)[0]
    (whole,) = closed_turns([sound], [DEMO], [800])
    mark = whole[0][2]
    bank = TurnBank(shared())
    slot = bank.add(mark, held_from(mark), DEMO)
    at, found = held_from(mark), []
    while at < len(sound):
        size = min(800, bank.room(slot))
        bank.push(slot, sound[at : at + size])
        at += size
        found += [(e.start, e.end, e.mark) for e in bank.judge() if isinstance(e, Closed)]
    assert found == whole[1:]


def test_where_a_leg_begins() -> None:
    need = WARM_UP + SETTLING
    assert first_begin(0, 0) == 0
    assert first_begin(0, 51_200) == 51_200
    assert first_begin(800, 0) == IDLE_GRID
    assert first_begin(IDLE_GRID - need, 0) == IDLE_GRID
    assert first_begin(IDLE_GRID - need + 1, 0) == 2 * IDLE_GRID
    assert first_begin(51_200 - need, 51_200) == 51_200
    assert first_begin(51_200 - need + 1, 51_200) == IDLE_GRID
    assert first_begin(0, 51_300) % 256 == 0
    for mark in (51_200, IDLE_GRID):
        assert first_begin(needed_from(mark), mark) == mark
    assert first_begin(needed_from(IDLE_GRID), 0) == IDLE_GRID


def test_pre_roll_stops_before_the_warm_up_of_the_mark() -> None:
    sound = timeline(["你好"], "+f3", seed=1, pause_ms=(100, 101))[0]
    bank = TurnBank(shared())
    slot = bank.add(0, 0, PEOPLE)
    bank.push(slot, sound[:6000])
    opened = [e for e in bank.judge() if isinstance(e, Opened)]
    assert opened[0].sound_from == 0
    assert opened[0].start < 800 * 8


def test_slots_are_used_again_and_the_bank_grows() -> None:
    bank = TurnBank(shared(), capacity=2)
    slots = [bank.add(0, 0, DEMO) for _ in range(5)]
    assert sorted(slots) == list(range(5))
    bank.push(slots[3], np.arange(300, dtype=np.int16))
    bank.remove(slots[1])
    assert bank.legs == 4
    assert bank.add(0, 0, DEMO) == slots[1]
    assert bank.cut(slots[3], 10, 20).tolist() == list(range(10, 20))


def test_refusals() -> None:
    bank = TurnBank(shared())
    slot = bank.add(0, 0, DEMO)
    with pytest.raises(ValueError, match="do not fit"):
        bank.push(slot, np.zeros(ROUND + 1, np.int16))
    with pytest.raises(ValueError, match="frame grid"):
        bank.add(100, 0, DEMO)
    with pytest.raises(ValueError, match="not in the ring"):
        bank.cut(slot, 0, 1)
