"""Halving the rate: what passes, what does not, and that pieces and restarts change nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_worker.downsample import REACH, Halver, Piece
from asr_worker.rules import SETTLING
from ringlog.audio.g711 import Int16


def tone(hz: float, count: int = 8000) -> Int16:
    """A sine at 16 kHz."""
    return np.asarray(10_000 * np.sin(2 * np.pi * hz * np.arange(count) / 16_000), np.int16)


def halved(samples: Int16, sizes: list[int], at: int = 0) -> Int16:
    """Everything that comes out."""
    halver, fed = Halver(at), 0
    parts: list[list[Piece]] = []
    while fed < len(samples):
        size = sizes[len(parts) % len(sizes)]
        parts.append(halver.feed(at + fed, samples[fed : fed + size]))
        fed += size
    parts.append(halver.flush())
    pieces = [piece for part in parts for piece in part]
    for (a, x), (b, _) in zip(pieces, pieces[1:], strict=False):
        assert a + len(x) == b
    return np.concatenate([x for _, x in pieces])


@pytest.mark.parametrize("hz", [300, 1000, 3000, 3400])
def test_the_telephone_band_passes(hz: int) -> None:
    out = halved(tone(hz), [1600])[100:-100].astype(float)
    level_db = 20 * np.log10(np.sqrt(np.mean(out**2)) / (10_000 / np.sqrt(2)))
    assert level_db == pytest.approx(0, abs=0.2 if hz <= 3000 else 1.5)
    peak_hz = np.argmax(np.abs(np.fft.rfft(out))) * 8000 / len(out)
    assert peak_hz == pytest.approx(hz, abs=5)


@pytest.mark.parametrize("hz", [5000, 6000, 7500])
def test_what_would_fold_back_is_removed(hz: int) -> None:
    out = halved(tone(hz), [1600])[100:-100].astype(float)
    assert np.sqrt(np.mean(out**2)) < 10_000 / np.sqrt(2) / 300


@given(st.lists(st.integers(1, 400), min_size=1, max_size=5), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_pieces_change_nothing(sizes: list[int], at: int) -> None:
    sound = np.random.default_rng(1).integers(-32768, 32768, 2001).astype(np.int16)
    whole = halved(sound, [5000], at)
    assert np.array_equal(halved(sound, sizes, at), whole)
    assert len(whole) == (at + len(sound) + 1) // 2 - (at + 1) // 2


def test_a_filter_that_began_late_has_settled_in_time() -> None:
    sound = np.random.default_rng(2).integers(-20_000, 20_000, 4000).astype(np.int16)
    whole = halved(sound, [4000])
    late = halved(sound[1000:], [4000], at=1000)
    assert np.array_equal(late[SETTLING:], whole[500 + SETTLING :])
    assert SETTLING > REACH


def test_holes_and_repetitions() -> None:
    sound = tone(1000, 1000)
    halver = Halver(0)
    first = halver.feed(0, sound)
    assert halver.feed(0, sound) == []
    assert halver.feed(500, sound[:100]) == []
    pieces = halver.feed(3000, sound)
    assert pieces[0][0] == len(first[0][1])
    assert pieces[0][0] + len(pieces[0][1]) == 500
    assert pieces[1][0] == 1500
