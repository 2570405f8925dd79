"""WAV files: round trip, resampling and refusals."""

import io
import wave
from pathlib import Path

import numpy as np
import pytest

from ringlog.audio import wav


@pytest.mark.parametrize("shape", [(800,), (800, 2)])
def test_round_trip(tmp_path: Path, shape: tuple[int, ...]) -> None:
    samples = np.random.default_rng(1).integers(-32768, 32768, shape).astype(np.int16)
    wav.write(tmp_path / "a.wav", samples)
    back, rate_hz = wav.read(tmp_path / "a.wav")
    assert rate_hz == 8000
    assert np.array_equal(back, samples)


def test_resampling_keeps_duration_and_tone() -> None:
    file = io.BytesIO()
    tone = (10000 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)).astype(np.int16)
    wav.write(file, tone, 16000)
    file.seek(0)
    back, rate_hz = wav.read(file, 8000)
    assert rate_hz == 8000
    assert abs(len(back) - 8000) <= 1
    peak_hz = np.argmax(np.abs(np.fft.rfft(back.astype(float)))) * 8000 / len(back)
    assert peak_hz == pytest.approx(440, abs=2)


def test_anything_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(ValueError, match="no WAV file"):
        wav.read(tmp_path / "text.wav")
    with wave.open(str(tmp_path / "bytes.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(b"\x80" * 10)
    with pytest.raises(ValueError, match="only 16-bit PCM"):
        wav.read(tmp_path / "bytes.wav")
