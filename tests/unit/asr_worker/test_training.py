"""The making of the demo model, as far as it needs no torch."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import sherpa_onnx

from asr_worker.training import batches, corpus, evaluate, measure, synth, telephone
from asr_worker.training.layout import MEL_USED
from asr_worker.training.speech import SpeechSet, save
from ringlog.asr_models import SHIPPED_MODELS
from ringlog.audio.g711 import to_float
from tests.unit.asr_worker.material import utterance

DEMO = SHIPPED_MODELS / "demo"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small test set on disk."""
    path = tmp_path_factory.mktemp("work") / "test_demo.npz"
    random = np.random.default_rng(1)
    save(path, synth.speak_all(random, corpus.CUSTOMER[::12], synth.HELDOUT_VOICES[:6]))
    return path


def test_the_vocabulary_is_that_of_the_shipped_model(tmp_path: Path) -> None:
    synth.write_tokens(tmp_path / "tokens.txt")
    assert (tmp_path / "tokens.txt").read_bytes() == (DEMO / "tokens.txt").read_bytes()


def test_texts_stay_within_the_vocabulary_and_off_the_held_out() -> None:
    counts = {"customer": 1, "robot": 1, "english_line": 1} | dict.fromkeys(corpus.GENERATORS, 60)
    texts = corpus.training_texts(np.random.default_rng(2), counts)
    known = set(corpus.vocabulary())
    assert len(texts) > 6 * 60
    assert all(set(corpus.tokens_of(words)) <= known for words in texts)
    assert not {corpus.text_of(words) for words in texts} & corpus.HELDOUT_TEXTS
    assert texts == corpus.training_texts(np.random.default_rng(2), counts)


@pytest.mark.parametrize(
    ("n", "text"),
    [(5, "五"), (10, "十"), (25, "二十五"), (101, "一百零一"), (110, "一百一十"),
     (1001, "一千零一"), (2350, "二千三百五十"), (10_000, "一万"), (20_030, "二万零三十")],
)  # fmt: skip
def test_numbers_in_characters(n: int, text: str) -> None:
    assert corpus.number(n) == text


def test_features_are_those_of_sherpa() -> None:
    model = sherpa_onnx.OnlineRecognizer.from_zipformer2_ctc(
        tokens=str(DEMO / "tokens.txt"), model=str(DEMO / "model.onnx")
    )
    random = np.random.default_rng(3)
    heard = telephone.line(random, to_float(utterance("价格太高了", "+m4")), snr_db=20)
    stream = model.create_stream()
    stream.accept_waveform(8000, heard)
    frames = len(heard) // 80 - 4
    theirs = np.reshape(stream.get_frames(0, frames), (frames, telephone.BINS))
    ours = telephone.features(heard)[:frames]
    assert np.abs(theirs - ours)[:, :60].max() < 0.01


@pytest.mark.parametrize("kind", telephone.NOISES)
def test_noise_has_unit_power(kind: str) -> None:
    sound = telephone.noise(np.random.default_rng(4), 8000, kind)
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(1, abs=0.01)


def test_the_shipped_model_on_a_small_test_set(stored: Path) -> None:
    speech = SpeechSet(stored)
    model = evaluate.recogniser(DEMO / "model.onnx", DEMO / "tokens.txt")
    rate = evaluate.error_rate(model, speech, evaluate.CONDITIONS[1], limit=100)
    assert rate.utterances == len(speech) == len(corpus.CUSTOMER[::12])
    assert rate.wrong / rate.total < 0.1
    assert rate.exact >= 0.8 * rate.utterances


def test_batches_are_padded_and_repeatable(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "POOL", 12)
    first, again = (list(islice(batches.batches(stored, 5, 20, 50), 6)) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.features, b.features)
        assert a.tokens == b.tokens
    for batch in first:
        count, frames, bins = batch.features.shape
        assert bins == MEL_USED
        assert (frames - 5) % 4 == 0
        assert max(batch.lengths) <= frames
        assert len(batch.lengths) == len(batch.counts) == count
        assert sum(batch.counts) == len(batch.tokens)
        assert np.isfinite(batch.features).all()


def test_error_measure() -> None:
    assert measure.units("我要 pay now") == ["我", "要", "pay", "now"]
    assert measure.edits("abc", "axcd") == 2
    assert measure.edits([], [1, 2]) == 2
