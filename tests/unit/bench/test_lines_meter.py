"""Delays are read from the times of packets."""

import asyncio
import struct

import numpy as np
import pytest

from bench.lines import meter
from bench.lines.audiosocket import (
    AudioSocketFloor,
    ContraryApplication,
    EchoApplication,
)


def talk(start_s: float, end_s: float) -> list[float]:
    """Arrivals of a voice, every 20 ms."""
    return [start_s + n * 0.02 for n in range(round((end_s - start_s) / 0.02))]


def test_silence_begins_behind_the_last_packet_of_a_voice() -> None:
    voiced = talk(0, 2.0) + talk(4, 5)
    assert meter.silent_at(voiced, 1.9, 3) == pytest.approx(2.0)
    assert meter.silent_at(talk(0, 1.0) + talk(1.3, 2.0), 0.5, 3) == pytest.approx(2.0), "a pause"


def test_a_voice_that_does_not_stop_or_does_not_sound_has_no_silence() -> None:
    assert meter.silent_at(talk(0, 5), 1, 5) is None
    assert meter.silent_at(talk(0, 1), 3, 9) is None
    assert meter.silent_at([], 1, 5) is None


def test_a_voice_that_pauses_at_the_onset_is_silent_at_once() -> None:
    assert meter.silent_at(talk(0, 1), 1.2, 5) == 1.2


def test_first_voice() -> None:
    assert meter.first_at(talk(0, 1) + talk(3, 4), 1.0) == 3
    assert meter.first_at([], 1.0) is None


def test_bounds_of_speech() -> None:
    sound = np.zeros(8_000, np.int16)
    sound[2_000:5_000] = 5_000
    assert meter.speech_bounds(sound, 8_000) == (0.25, 0.63)
    with pytest.raises(ValueError, match="no voice"):
        meter.speech_bounds(np.zeros(8_000, np.int16), 8_000)


def test_percentile() -> None:
    values = [float(n) for n in range(1, 101)]
    assert (meter.percentile(values, 0.5), meter.percentile(values, 0.95)) == (50, 95)
    assert meter.percentile([7.0], 0.95) == 7


def frame(value: int) -> bytes:
    return struct.pack(">BH", 0x10, 320) + np.full(160, value, "<i2").tobytes()


async def test_the_applications_over_a_socket() -> None:
    echo = await AudioSocketFloor(EchoApplication()).start()
    contrary = await AudioSocketFloor(ContraryApplication()).start()
    for server in (echo, contrary):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(struct.pack(">BH", 0x01, 16) + bytes(16) + frame(9_000))
        if server is echo:
            assert await reader.readexactly(323) == frame(9_000)
        writer.write(frame(0))
        quiet = await reader.readexactly(323)
        assert (quiet == frame(0)) == (server is echo), "the other one speaks into silence only"
        writer.write(struct.pack(">BH", 0, 0))
        assert await reader.read() == b""
        writer.close()
        await server.close()
