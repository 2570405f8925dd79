"""16-bit PCM WAV files, read to and written from int16 arrays."""

import wave
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soxr

from ringlog.audio import SAMPLE_RATE_HZ
from ringlog.audio.g711 import Int16


def read(source: Path | str | BinaryIO, rate_hz: int | None = None) -> tuple[Int16, int]:
    """Samples and rate of a WAV file: int16 [n], or [n, channels] when it has several.

    `rate_hz` resamples to that rate. Raises ValueError for anything but 16-bit PCM.
    """
    try:
        with wave.open(str(source) if isinstance(source, Path) else source, "rb") as file:
            channels, width, rate, _, compression, _ = file.getparams()
            if width != 2 or compression != "NONE":
                raise ValueError(f"{source}: only 16-bit PCM is read, not {8 * width} bits")
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{source}: no WAV file ({error})") from error
    if channels > 1:
        samples = samples.reshape(-1, channels)
    if rate_hz is not None and rate_hz != rate:
        samples, rate = soxr.resample(samples, rate, rate_hz), rate_hz
    return samples, rate


def write(target: Path | str | BinaryIO, samples: Int16, rate_hz: int = SAMPLE_RATE_HZ) -> None:
    """Write int16 [n] (mono) or [n, channels] as 16-bit PCM."""
    with wave.open(str(target) if isinstance(target, Path) else target, "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
