"""FLAC, 16 bit, mono: sound without loss in about half the space."""

import io

import soundfile  # type: ignore[import-untyped] # it ships no types

from ringlog.audio.g711 import Int16


def encode(samples: Int16, rate_hz: int) -> bytes:
    """int16 [n], n > 0 -> a FLAC file; the same samples always give the same bytes."""
    out = io.BytesIO()
    soundfile.write(out, samples, rate_hz, format="FLAC", subtype="PCM_16")
    return out.getvalue()


def decode(data: bytes) -> tuple[Int16, int]:
    """A FLAC file -> int16 [n] and the rate in Hz; raises ValueError for anything else."""
    try:
        samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="int16")
    except soundfile.LibsndfileError as error:
        raise ValueError(f"no FLAC file: {error}") from None
    return samples, int(rate_hz)
