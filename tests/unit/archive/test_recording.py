"""Tracks from chunks: holes, repeats, overlaps, absurd input; and both sides mixed."""

import random

import numpy as np

from ringlog.audio import flac
from ringlog.audio.recording import CallSound, Track, mix
from schemas.events import MediaChunk
from streams.archive.sound import CallHeard
from tests.unit.archive.build import CHUNK, chunk, voice


def tracks_of(*chunks: MediaChunk) -> list[Track]:
    sound = CallSound()
    for one in chunks:
        sound.add(one)
    return sound.tracks()


def test_holes_are_silent_and_counted() -> None:
    first, last = voice(CHUNK, 1), voice(CHUNK, 2)
    (track,) = tracks_of(chunk(0, first), chunk(3 * CHUNK, last))
    assert (track.start_ms, track.rate_hz, track.lost_ms) == (250, 8_000, 200)
    assert (track.samples[:CHUNK] == first).all()
    assert not track.samples[CHUNK : 3 * CHUNK].any()
    assert (track.samples[3 * CHUNK :] == last).all()


def test_T1_a_silent_leg_is_no_sound_and_nothing_that_was_left_out() -> None:
    mark = chunk(9 * CHUNK, voice(0, 0)).model_copy(update={"kind": "silent", "payload": b""})
    sound = CallSound()
    sound.add(mark)
    assert sound.empty and not sound.cut
    sound.add(chunk(0, voice(CHUNK, 1)))
    (track,) = sound.tracks()
    assert len(track.samples) == CHUNK and sound.left_out == 0


def test_order_and_repeats_change_nothing() -> None:
    chunks = [chunk(n * CHUNK, voice(CHUNK, n)) for n in range(6)]
    (straight,) = tracks_of(*chunks)
    again = chunks + [c.model_copy(update={"payload": b"\x00" * CHUNK}) for c in chunks]
    (repeated,) = tracks_of(*again)
    assert (repeated.samples == straight.samples).all()
    random.Random(3).shuffle(chunks)
    (shuffled,) = tracks_of(*chunks)
    assert (shuffled.samples == straight.samples).all()
    assert straight.lost_ms == 0


def test_where_chunks_overlap_the_later_one_wins() -> None:
    early, late = voice(CHUNK, 1), voice(CHUNK, 2)
    (track,) = tracks_of(chunk(0, early), chunk(CHUNK // 2, late))
    assert (track.samples[CHUNK // 2 :] == late).all()
    assert len(track.samples) == CHUNK * 3 // 2
    assert track.lost_ms == 0


def test_every_source_of_a_leg_is_a_track_of_its_own() -> None:
    found = tracks_of(
        chunk(0, voice(CHUNK, 1), ssrc=9, leg_start_ms=900),
        chunk(0, voice(CHUNK, 2), ssrc=8, event_id="00000000-0000-5000-8000-000000000001"),
        chunk(0, voice(CHUNK, 3), leg="robot", leg_start_ms=0),
    )
    assert [(t.leg, t.ssrc, t.start_ms) for t in found] == [
        ("robot", 7, 0), ("customer", 8, 250), ("customer", 9, 900),
    ]  # fmt: skip


def test_what_has_no_place_is_left_out_and_counted() -> None:
    sound = CallSound()
    bad: list[dict[str, object]] = [
        {"rtp_ts": 10**15}, {"rtp_ts": 0}, {"leg_start_ms": 10**12}, {"rate_hz": 0},
        {"rate_hz": 10**9}, {"codec": "l16", "payload": b"odd"}, {"payload": b""},
    ]  # fmt: skip
    for n, fields in enumerate(bad):
        event_id = f"00000000-0000-5000-8000-{n:012d}"
        sound.add(chunk(0, voice(CHUNK), **{"event_id": event_id, **fields}))
    assert sound.tracks() == []
    assert sound.left_out == len(bad)


def test_a_call_is_whole_when_every_leg_began_and_ended() -> None:
    sound = CallSound()
    assert sound.empty and sound.ended and not sound.cut
    sound.add(chunk(CHUNK, voice(CHUNK)))
    assert not sound.empty and not sound.ended and sound.cut
    sound.add(chunk(0, voice(CHUNK)))
    assert not sound.ended and not sound.cut
    sound.add(chunk(2 * CHUNK, None))
    assert sound.ended and not sound.cut
    sound.add(chunk(5 * CHUNK, None, leg="robot"))
    assert sound.cut, "a leg ended of which nothing was read"


def test_a_late_beginning_is_a_cut_only_where_reading_began() -> None:
    sound = CallSound()
    sound.add(chunk(3 * CHUNK, voice(CHUNK), leg="robot"))
    assert CallHeard(sound, first_ms=1, at_edge=True).cut
    assert not CallHeard(sound, first_ms=1, at_edge=False).cut, "it sent nothing at first"
    sound.add(chunk(0, voice(CHUNK), leg="robot"))
    assert not CallHeard(sound, first_ms=1, at_edge=True).cut


def test_a_chunk_of_another_rate_is_placed_by_time() -> None:
    (track,) = tracks_of(
        chunk(0, voice(CHUNK)),
        chunk(0, None, kind="chunk", payload=b"\x01\x00" * 1_600, codec="l16", rate_hz=16_000,
              rtp_ts=5_000 + 3_200, event_id="00000000-0000-5000-8000-000000000002"),
    )  # fmt: skip
    assert track.rate_hz == 8_000
    assert len(track.samples) == 3 * CHUNK


def test_sides_are_mixed_on_the_calls_clock() -> None:
    tone = np.full(800, 8_000, np.int16)
    out = mix(
        [
            Track("customer", 1, 8_000, 200, tone, 0),
            Track("robot", 2, 8_000, 0, tone, 0),
            Track("agent", 3, 16_000, 50, np.full(800, 30_000, np.int16), 0),
        ]
    )
    assert out.shape == (2_400, 2)
    assert not out[:1_600, 0].any()
    assert (out[1_600:, 0] == 8_000).all()
    assert (out[:300, 1] == 8_000).all()
    assert out[600, 1] == 32_767, "robot and agent together, clipped"
    assert not out[800:, 1].any()
    assert mix([]).shape == (0, 2)


def test_flac_keeps_every_sample() -> None:
    for n in (1, 17, 4_096, 40_000):
        samples = voice(n)
        data = flac.encode(samples, 8_000)
        back, rate_hz = flac.decode(data)
        assert rate_hz == 8_000
        assert (back == samples).all()
        assert flac.encode(samples, 8_000) == data
