"""G.711 against the interpreter's own reference tables and the standard's vectors."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringlog.audio import g711

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

EVERY_SAMPLE = np.arange(-32768, 32768).astype(np.int16)
EVERY_BYTE = bytes(range(256))


def test_mu_law_equals_the_reference_for_every_sample_and_byte() -> None:
    assert g711.encode_pcmu(EVERY_SAMPLE) == audioop.lin2ulaw(EVERY_SAMPLE.tobytes(), 2)
    assert g711.decode_pcmu(EVERY_BYTE).tobytes() == audioop.ulaw2lin(EVERY_BYTE, 2)


def test_a_law_equals_the_reference_for_every_sample_and_byte() -> None:
    assert g711.encode_pcma(EVERY_SAMPLE) == audioop.lin2alaw(EVERY_SAMPLE.tobytes(), 2)
    assert g711.decode_pcma(EVERY_BYTE).tobytes() == audioop.alaw2lin(EVERY_BYTE, 2)


def test_vectors_of_the_standard() -> None:
    """ITU-T G.711: the test sequence of 8 octets is a 1 kHz sine of 0 dBm0."""
    mu = bytes((0x1E, 0x0B, 0x0B, 0x1E, 0x9E, 0x8B, 0x8B, 0x9E))
    a = bytes((0x34, 0x21, 0x21, 0x34, 0xB4, 0xA1, 0xA1, 0xB4))
    for decoded in (g711.decode_pcmu(mu), g711.decode_pcma(a)):
        assert np.array_equal(decoded[:4], -decoded[4:])
        level_db = 20 * np.log10(np.sqrt(np.mean(decoded.astype(float) ** 2)) / 32768)
        # A full-scale sine is 3.14 dBm0 (mu-law 3.17), and its RMS lies 3.01 dB under full scale.
        assert level_db == pytest.approx(-6.15, abs=0.25)
    assert g711.decode_pcmu(b"\x00\x80\xff\x7f").tolist() == [-32124, 32124, 0, 0]
    assert g711.decode_pcma(b"\xd5\x55\xaa\x2a").tolist() == [8, -8, 32256, -32256]


@given(st.binary(max_size=64))
@settings(max_examples=50, deadline=None)
def test_every_payload_survives_decoding_and_encoding(payload: bytes) -> None:
    assert g711.encode("PCMA", g711.decode("pcma", payload)) == payload
    again = g711.encode("pcmu", g711.decode("PCMU", payload))
    assert again == payload.replace(b"\x7f", b"\xff")  # mu-law has two zeros
    whole = payload[: len(payload) // 2 * 2]
    assert g711.encode("L16", g711.decode("l16", whole)) == whole


def test_l16_is_big_endian_and_refuses_half_a_sample() -> None:
    assert g711.encode_l16(np.array([1, -2], np.int16)) == b"\x00\x01\xff\xfe"
    assert g711.decode_l16(b"\x00\x01\xff\xfe").tolist() == [1, -2]
    with pytest.raises(ValueError, match="multiple"):
        g711.decode_l16(b"\x00\x01\xff")


def test_unknown_codec_names_the_known_ones() -> None:
    with pytest.raises(g711.UnknownCodec, match="'opus', known: pcmu, pcma, l16"):
        g711.decode("opus", b"")
    with pytest.raises(g711.UnknownCodec):
        g711.encode("opus", np.zeros(1, np.int16))


def test_float_conversion_is_exact_and_clips() -> None:
    assert np.array_equal(g711.to_int16(g711.to_float(EVERY_SAMPLE)), EVERY_SAMPLE)
    assert g711.to_int16(np.array([2.0, -2.0, 1.0], np.float32)).tolist() == [32767, -32768, 32767]


@pytest.mark.parametrize("codec", g711.CODECS)
def test_silence_byte_is_the_quietest_octet(codec: str) -> None:
    payload = bytes([g711.SILENCE_BYTE[codec]]) * 4
    assert np.abs(g711.decode(codec, payload)).max() <= 8
