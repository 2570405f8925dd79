"""Joints of a prompt are not heard: no click, no pause, nothing lost of the words."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ingest.sound.prompt_lists import PromptMissing
from ingest.sound.prompts import MAX_PARTS, PromptStore
from ingest.sound.splice import BREATH_MS, FADE_MS, joined
from ingest.sound.types import PCMU
from ringlog.audio import wav
from ringlog.audio.g711 import Int16

RATE_HZ = 8_000


def word(ms: int, hz: float, pause_ms: int = 200) -> Int16:
    """A tone that begins and ends amid its wave, between two pauses."""
    times = np.arange(ms * RATE_HZ // 1000) / RATE_HZ
    pause = np.zeros(pause_ms * RATE_HZ // 1000, np.int16)
    tone = np.asarray(10_000 * np.cos(2 * np.pi * hz * times), np.int16)
    return np.concatenate([pause, tone, pause])


def test_one_part_is_itself() -> None:
    part = word(300, 440)
    assert np.array_equal(joined([part], RATE_HZ), part)


def test_pauses_at_a_joint_become_a_breath_and_those_at_the_ends_stay() -> None:
    made = joined([word(300, 440), word(400, 300)], RATE_HZ)
    assert len(made) * 1000 / RATE_HZ == pytest.approx(
        200 + 300 + 2 * BREATH_MS - FADE_MS + 400 + 200, abs=2
    )


def test_a_cut_amid_a_wave_does_not_click() -> None:
    """Without an overlap the step at the joint is far beyond what the waves themselves do."""
    left, right = word(300, 200, pause_ms=0), word(300, 200, pause_ms=0)[20:]
    steepest = int(np.abs(np.diff(left.astype(int))).max())
    hard = np.concatenate([left, right])
    assert np.abs(np.diff(hard.astype(int))).max() > 2 * steepest
    assert np.abs(np.diff(joined([left, right], RATE_HZ).astype(int))).max() <= 2 * steepest


@given(st.lists(arrays.arrays(np.int16, st.integers(0, 400)), min_size=1, max_size=6))
def test_any_parts_are_joined_within_their_length(parts: list[Int16]) -> None:
    made = joined(parts, RATE_HZ)
    assert made.dtype == np.int16
    assert len(made) <= sum(len(part) for part in parts)


async def test_the_store_joins_and_remembers(tmp_path: Path) -> None:
    shas = [c * 64 for c in "abc"]
    for n, sha in enumerate(shas):
        wav.write(tmp_path / f"{sha}.wav", word(200, 300 + 100 * n))
    store = PromptStore(tmp_path)
    prompt = await store.get_joined(shas, PCMU)
    assert prompt is await store.get_joined(shas, PCMU)
    assert prompt is not await store.get_joined(shas[::-1], PCMU)
    assert 1_000 < prompt.ms < 1_200
    with pytest.raises(PromptMissing, match="no file"):
        await store.get_joined([*shas, "d" * 64], PCMU)


@pytest.mark.parametrize("parts", [[], ["a" * 64] * (MAX_PARTS + 1), ["a" * 64, "../x"]])
async def test_odd_parts_are_refused(tmp_path: Path, parts: list[str]) -> None:
    with pytest.raises(PromptMissing):
        await PromptStore(tmp_path).get_joined(parts, PCMU)
