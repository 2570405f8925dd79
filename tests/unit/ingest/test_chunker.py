"""Chunks: the 100 ms grid, contiguity, holes, and that no sample is lost or doubled."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.sound.chunker import Chunker, LegEnd, Logged
from ingest.sound.types import Chunk, Frame, Leg

LEG = Leg("customer", 7, 1000, 0, 8000)


def sound(ts: int, samples: int) -> bytes:
    """A payload whose octets tell their timestamps (modulo 251)."""
    return bytes((ts + n) % 251 for n in range(samples))


def frame(ts: int, samples: int = 160, lost: int = 0, leg: Leg = LEG, seq: int = 0) -> Frame:
    return Frame(leg, seq or ts // 160, ts, sound(ts, samples), "pcmu", lost)


def chunks(logged: list[Logged]) -> list[Chunk]:
    return [c for c in logged if isinstance(c, Chunk)]


def test_regular_sound_begins_at_multiples_of_100_ms() -> None:
    chunker, out = Chunker(), []
    for n in range(23):
        out += chunker.push(frame(1000 + 160 * n))
    out += chunker.flush()
    found = chunks(out)
    assert found[0].ts == 1000 and len(found[0].payload) == 600
    assert [c.ts for c in found[1:]] == [1600, 2400, 3200, 4000]
    assert [len(c.payload) for c in found[1:]] == [800, 800, 800, 680]
    assert b"".join(c.payload for c in found) == sound(1000, 23 * 160)
    assert all(c.lost == 0 for c in found)


def test_a_chunk_is_out_with_the_packet_that_fills_it() -> None:
    chunker = Chunker()
    leg = Leg("customer", 7, 1600, 0, 8000)
    for n in range(4):
        assert chunker.push(frame(1600 + 160 * n, leg=leg)) == []
    (chunk,) = chunks(chunker.push(frame(2240, leg=leg)))
    assert (chunk.ts, chunk.first_seq, len(chunk.payload)) == (1600, 10, 800)
    assert not chunker.pending


def test_a_hole_splits_and_the_next_chunk_counts_the_loss() -> None:
    chunker = Chunker()
    out = chunker.push(frame(1600)) + chunker.push(frame(1760))
    out += chunker.push(frame(2080, lost=1)) + chunker.push(frame(2240))
    out += chunker.push(frame(16_000)) + chunker.flush()
    assert [(c.ts, len(c.payload), c.lost, c.first_seq) for c in chunks(out)] == [
        (1600, 320, 0, 10),
        (2080, 320, 1, 13),
        (16_000, 160, 0, 100),
    ]


def test_overlap_is_cut_off() -> None:
    chunker = Chunker()
    out = chunker.push(frame(1600)) + chunker.push(frame(1680)) + chunker.push(frame(1600))
    (chunk,) = chunks(out + chunker.flush())
    assert chunk.payload == sound(1600, 240)


def test_a_new_leg_ends_the_old_one() -> None:
    chunker, other = Chunker(), Leg("customer", 8, 9000, 80, 8000)
    out = chunker.push(frame(1600)) + chunker.push(frame(9000, leg=other)) + chunker.end()
    assert [(type(x), x.leg.ssrc, x.ts) for x in out] == [
        (Chunk, 7, 1600),
        (LegEnd, 7, 1760),
        (Chunk, 8, 9000),
        (LegEnd, 8, 9160),
    ]
    assert chunker.end() == []


def test_a_new_codec_starts_a_chunk() -> None:
    chunker = Chunker()
    out = chunker.push(frame(1600)) + chunker.push(frame(1760)._replace(codec="pcma"))
    assert [(c.codec, c.ts) for c in chunks(out + chunker.flush())] == [
        ("pcmu", 1600),
        ("pcma", 1760),
    ]


def test_sixteen_bit_samples() -> None:
    leg = Leg("customer", 7, 0, 0, 16_000)
    chunker, out = Chunker(), []
    for n in range(6):
        out += chunker.push(Frame(leg, n, 320 * n, bytes([n]) * 640, "l16", 0))
    out += chunker.flush()
    assert [(c.ts, len(c.payload)) for c in chunks(out)] == [(0, 3200), (1600, 640)]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2000),
    st.lists(
        st.tuples(
            st.sampled_from([80, 160, 240, 480, 1600]), st.sampled_from([0, 0, 0, 160, 5000])
        ),
        max_size=40,
    ),
)
def test_every_sample_once_at_its_time(start: int, steps: list[tuple[int, int]]) -> None:
    chunker, out, ts, expected = Chunker(), [], start, {}
    leg = Leg("customer", 7, start, 0, 8000)
    lost = 0
    for samples, hole in steps:
        ts += hole
        lost += hole // 160
        expected.update({ts + n: (ts + n) % 251 for n in range(samples)})
        out += chunker.push(frame(ts, samples, hole // 160, leg, seq=1))
        ts += samples
    out += chunker.end()
    seen: dict[int, int] = {}
    ends = [start]
    for chunk in chunks(out):
        assert chunk.ts >= ends[-1], "chunks go forward"
        assert chunk.ts // 800 == (chunk.ts + len(chunk.payload) - 1) // 800, "one grid cell each"
        ends.append(chunk.ts + len(chunk.payload))
        for n, octet in enumerate(chunk.payload):
            assert chunk.ts + n not in seen
            seen[chunk.ts + n] = octet
    assert seen == expected
    assert sum(c.lost for c in chunks(out)) == lost
    assert len({c.ts for c in chunks(out)}) == len(chunks(out)), "ids of chunks differ"
