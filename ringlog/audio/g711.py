"""Telephone codecs over whole arrays: PCMU, PCMA (ITU-T G.711) and L16 (RFC 3551 section 4.5.11).

Every function takes and returns 1-D arrays of int16 samples, mono. A byte of PCMU or PCMA is one
sample, so 100 ms at 8 kHz are 800 bytes; L16 has two bytes a sample, in network byte order.
Decoding and encoding are table look-ups: 256 and 65,536 entries, made once at import.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Int16 = NDArray[np.int16]
Float32 = NDArray[np.float32]

CODECS: Final = ("pcmu", "pcma", "l16")
"""Names that `decode` and `encode` know, in lower case."""

SILENCE_BYTE: Final = {"pcmu": 0xFF, "pcma": 0xD5, "l16": 0x00}
"""The octet of a silent payload: sample value 0 (8 for PCMA, which has no zero)."""

_MU_BIAS = 33  # G.711 table 2: thresholds are offset by 33 in 14-bit units
_MU_TOP = 8191  # end of the last chord


class UnknownCodec(ValueError):
    """A codec name outside `CODECS`."""


def _segment(magnitude: NDArray[np.int64], first_end: int) -> NDArray[np.int64]:
    """Number of the chord of each magnitude; chord k ends at (first_end + 1) * 2**k - 1."""
    ends = (first_end + 1) * 2 ** np.arange(8) - 1
    return np.searchsorted(ends, magnitude, side="left")


def _mu_encode_table() -> NDArray[np.uint8]:
    sample = np.arange(-32768, 32768, dtype=np.int64) >> 2
    magnitude = np.minimum(np.abs(sample) + _MU_BIAS, _MU_TOP)
    chord = _segment(magnitude, 0x3F)
    code = (chord << 4) | ((magnitude >> (chord + 1)) & 0x0F)
    return np.asarray(code ^ np.where(sample < 0, 0x7F, 0xFF), dtype=np.uint8)


def _mu_decode_table() -> Int16:
    code = ~np.arange(256) & 0xFF
    chord = (code & 0x70) >> 4
    magnitude = ((((code & 0x0F) << 3) + 4 * _MU_BIAS) << chord) - 4 * _MU_BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _a_encode_table() -> NDArray[np.uint8]:
    sample = np.arange(-32768, 32768, dtype=np.int64) >> 3
    magnitude = np.where(sample < 0, -sample - 1, sample)
    chord = _segment(magnitude, 0x1F)
    step = np.where(chord < 2, (magnitude >> 1) & 0x0F, (magnitude >> chord) & 0x0F)
    return np.asarray(((chord << 4) | step) ^ np.where(sample < 0, 0x55, 0xD5), dtype=np.uint8)


def _a_decode_table() -> Int16:
    code = np.arange(256) ^ 0x55
    chord, step = (code & 0x70) >> 4, (code & 0x0F) << 4
    magnitude = np.where(chord == 0, step + 8, (step + 0x108) << np.maximum(chord - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_MU_ENCODE, _MU_DECODE = _mu_encode_table(), _mu_decode_table()
_A_ENCODE, _A_DECODE = _a_encode_table(), _a_decode_table()


def encode_pcmu(samples: Int16) -> bytes:
    """int16 [n] -> n bytes of mu-law."""
    return bytes(_MU_ENCODE[samples.astype(np.int32) + 32768])


def decode_pcmu(payload: bytes) -> Int16:
    """n bytes of mu-law -> int16 [n]."""
    return _MU_DECODE[np.frombuffer(payload, np.uint8)]


def encode_pcma(samples: Int16) -> bytes:
    """int16 [n] -> n bytes of A-law."""
    return bytes(_A_ENCODE[samples.astype(np.int32) + 32768])


def decode_pcma(payload: bytes) -> Int16:
    """n bytes of A-law -> int16 [n]."""
    return _A_DECODE[np.frombuffer(payload, np.uint8)]


def encode_l16(samples: Int16) -> bytes:
    """int16 [n] -> 2 n bytes, big-endian."""
    return samples.astype(">i2").tobytes()


def decode_l16(payload: bytes) -> Int16:
    """2 n bytes, big-endian -> int16 [n]; raises ValueError for an odd length."""
    return np.frombuffer(payload, ">i2").astype(np.int16)


_DECODERS = {"pcmu": decode_pcmu, "pcma": decode_pcma, "l16": decode_l16}
_ENCODERS = {"pcmu": encode_pcmu, "pcma": encode_pcma, "l16": encode_l16}


def decode(codec: str, payload: bytes) -> Int16:
    """Payload of a named codec (any case) -> int16 [n].

    Raises UnknownCodec, or ValueError when the payload is no whole number of samples.
    """
    if (decoder := _DECODERS.get(codec.lower())) is None:
        raise UnknownCodec(f"unknown codec {codec!r}, known: {', '.join(CODECS)}")
    return decoder(payload)


def encode(codec: str, samples: Int16) -> bytes:
    """int16 [n] -> payload of a named codec (any case); raises UnknownCodec."""
    if (encoder := _ENCODERS.get(codec.lower())) is None:
        raise UnknownCodec(f"unknown codec {codec!r}, known: {', '.join(CODECS)}")
    return encoder(samples)


def to_float(samples: Int16) -> Float32:
    """int16 [n] -> float32 [n] in [-1, 1)."""
    return samples.astype(np.float32) / np.float32(32768)


def to_int16(samples: NDArray[np.float32] | NDArray[np.float64]) -> Int16:
    """Float [n] in [-1, 1] -> int16 [n], rounded and clipped."""
    scaled = np.rint(samples * np.float32(32768))
    return np.asarray(np.clip(scaled, -32768, 32767), np.int16)
