"""Receiving: order, duplicates, loss, wraps, sources, clocks, keys, and bounded memory."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.rtp.packet import RtpPacket, TelephoneEvent, serialise, serialise_event
from ingest.rtp.receiver import MAX_HELD, MAX_SSRCS, Inbound, Known, Receiver
from ingest.sound.types import Digit, Frame, Leg

PEER = ("127.0.0.1", 4000)
FRAME_US = 20_000


def receiver(**kwargs: object) -> Receiver:
    return Receiver(lambda us: us // 1000, **kwargs)  # type: ignore[arg-type]


def packet(
    n: int, *, seq0: int = 0, ts0: int = 0, ssrc: int = 7, kind: int = 0, step: int = 160
) -> bytes:
    """The n-th packet of a stream; its payload tells n."""
    payload = (n % 65536).to_bytes(2, "big") * (step // 2)
    return serialise(RtpPacket(kind, (seq0 + n) % 2**16, (ts0 + n * step) % 2**32, ssrc, payload))


def number(frame: Inbound) -> int:
    assert isinstance(frame, Frame)
    return int.from_bytes(frame.payload[:2], "big")


class Line:
    """Feeds a receiver with packets at their times and collects what comes out."""

    def __init__(self, rx: Receiver) -> None:
        self.rx = rx
        self.out: list[Inbound] = []
        self.now_us = 0

    def send(self, data: bytes, at_us: int | None = None, address: tuple[str, int] = PEER) -> None:
        self.now_us = self.now_us + FRAME_US if at_us is None else at_us
        self.out += self.rx.poll(self.now_us)
        self.out += self.rx.receive(data, address, self.now_us)

    @property
    def frames(self) -> list[Frame]:
        return [f for f in self.out if isinstance(f, Frame)]

    @property
    def digits(self) -> str:
        return "".join(d.digit for d in self.out if isinstance(d, Digit))


def test_in_order_packets_come_out_at_once() -> None:
    line = Line(receiver())
    for n in range(5):
        line.send(packet(n, seq0=100, ts0=1000))
        assert len(line.frames) == n + 1
    assert [f.seq for f in line.frames] == [100, 101, 102, 103, 104]
    assert [f.ts for f in line.frames] == [1000 + 160 * n for n in range(5)]
    leg = line.frames[0].leg
    assert leg == Leg("customer", 7, 1000, 20, 8000)
    assert leg.call_ms(line.frames[4].ts) == 100


def test_sequence_and_timestamp_wrap() -> None:
    line = Line(receiver())
    for n in range(2000):
        line.send(packet(n, seq0=65000, ts0=2**32 - 160 * 1000))
    assert [f.seq for f in line.frames] == list(range(65000, 67000))
    assert [f.ts for f in line.frames] == [2**32 - 160_000 + 160 * n for n in range(2000)]
    assert line.rx.stats.lost == 0 and line.rx.stats.clock_jumps == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32))
def test_reordering_within_60_ms_comes_out_in_order(seq0: int, ts0: int, seed: int) -> None:
    rng = random.Random(seed)
    arrivals = sorted((n * FRAME_US + rng.randrange(60_000), n) for n in range(100))
    arrivals = [(0, 0), *((at + 60_000, n) for at, n in arrivals if n)]
    line = Line(receiver())
    for at, n in arrivals:
        line.send(packet(n, seq0=seq0, ts0=ts0), at)
    line.out += line.rx.flush()
    assert [number(f) for f in line.frames] == list(range(100))
    assert line.rx.stats.lost == 0 and line.rx.stats.duplicate == 0 and line.rx.stats.late == 0


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**16 - 1),
    st.sets(st.integers(1, 98), max_size=60),
    st.sets(st.integers(0, 99), max_size=30),
)
def test_loss_is_counted_and_duplicates_dropped(
    seq0: int, missing: set[int], twice: set[int]
) -> None:
    line = Line(receiver())
    sent = [n for n in range(100) if n not in missing]
    for n in sent:
        line.send(packet(n, seq0=seq0), n * FRAME_US)
        if n in twice:
            line.send(packet(n, seq0=seq0), n * FRAME_US + 1000)
    line.out += line.rx.flush()
    assert [number(f) for f in line.frames] == sent
    assert line.rx.stats.lost == len(missing)
    assert line.rx.stats.duplicate == len(twice & set(sent))
    assert sum(f.lost for f in line.frames) == len(missing)
    for before, after in zip(line.frames, line.frames[1:], strict=False):
        assert after.lost == after.seq - before.seq - 1
        assert after.ts - before.ts == 160 * (after.seq - before.seq)


def test_a_missing_packet_is_given_up_after_60_ms() -> None:
    line = Line(receiver())
    line.send(packet(0), 0)
    line.send(packet(2), 40_000)
    assert line.rx.waiting and len(line.frames) == 1
    assert not line.rx.poll(99_999)
    line.out += line.rx.poll(100_000)
    assert [number(f) for f in line.frames] == [0, 2] and line.frames[1].lost == 1
    line.send(packet(1), 110_000)
    assert len(line.frames) == 2 and line.rx.stats.late == 1


def test_a_burst_behind_a_hole_is_bounded() -> None:
    line = Line(receiver())
    line.send(packet(0, step=40), 0)
    for n in range(2, 2 + 3 * MAX_HELD):
        line.send(packet(n, step=40), 1000)
    line.send(packet(2 + 3 * MAX_HELD, step=40), 1001)
    assert [number(f) for f in line.frames] == [0, *range(2, 3 + 3 * MAX_HELD)]


def test_silence_is_a_hole_in_time_and_no_loss() -> None:
    line = Line(receiver())
    line.send(packet(0), 0)
    line.send(serialise(RtpPacket(13, 1, 160, 7, b"\x20")), 20_000)  # comfort noise
    line.send(serialise(RtpPacket(0, 2, 80_000, 7, bytes(160))), 10_000_000)
    first, second = line.frames
    assert second.ts - first.ts == 80_000 and second.lost == 0
    assert line.rx.stats.lost == 0 and line.rx.stats.clock_jumps == 0


def test_a_new_ssrc_starts_a_leg_whose_times_never_repeat() -> None:
    line = Line(receiver())
    for n in range(5):
        line.send(packet(n, seq0=50_000, ts0=5000))
    for n in range(12):
        line.send(packet(n, seq0=7, ts0=100, ssrc=8))
    old, new = line.frames[:5], line.frames[5:]
    assert [f.seq for f in new] == list(range(7, 19)), "what came in probation is heard, too"
    assert new[0].ts % 2**32 == 100 and new[0].ts > old[-1].ts + 159
    assert new[0].leg.ssrc == 8 and new[0].leg.start_ts == new[0].ts
    assert new[0].leg.start_ms == 120 and line.rx.stats.lost == 0


def test_an_old_ssrc_that_comes_back_is_a_new_leg() -> None:
    line = Line(receiver())
    for n in range(5):
        line.send(packet(n, seq0=10))
    for n in range(20):
        line.send(packet(n, seq0=500, ssrc=8))
    line.send(packet(4, seq0=10))  # a straggler
    for n in range(30, 50):
        line.send(packet(n, seq0=10))
    first, back, last = line.frames[0], line.frames[25], line.frames[-1]
    assert back.leg.ssrc not in (7, 8) and back.leg is last.leg
    assert back.ts > 2**32 and back.ts == back.leg.start_ts and last.ts == back.ts + 160 * 19
    assert (first.seq, back.seq) == (10, 40)


def test_two_streams_at_once_are_one_leg() -> None:
    """Review 4: a second stream beside the first neither cuts it nor is mixed into it."""
    line = Line(receiver())
    for n in range(500):
        line.send(packet(n, ssrc=7), n * FRAME_US)
        line.send(packet(n, ssrc=8), n * FRAME_US + 7_000)
    assert {f.leg.ssrc for f in line.frames} == {7} and len(line.frames) == 500


def test_only_the_announced_source_is_heard() -> None:
    line = Line(receiver(remote=PEER))
    line.send(packet(0), address=("127.0.0.1", 4001))
    line.send(packet(0, ssrc=9), address=("10.0.0.1", 4000))
    line.send(packet(0))
    assert len(line.frames) == 1 and line.rx.stats.source == 2


def test_the_first_good_packet_fixes_the_source() -> None:
    line = Line(receiver())
    line.send(b"nonsense", address=("10.0.0.9", 1))
    line.send(packet(0))
    line.send(packet(1), address=("10.0.0.9", 1))
    line.send(packet(1))
    assert line.rx.remote == PEER
    assert [number(f) for f in line.frames] == [0, 1]
    assert line.rx.stats.source == 1 and line.rx.stats.malformed == 1


def test_one_stray_sequence_restarts_nothing_two_do() -> None:
    line = Line(receiver())
    for n in range(3):
        line.send(packet(n))
    line.send(packet(0, seq0=30_000))
    line.send(packet(3))
    assert [number(f) for f in line.frames] == [0, 1, 2, 3] and line.rx.stats.restarts == 0
    for n in range(3):
        line.send(packet(n, seq0=20_000, ts0=4 * 160))
    assert line.rx.stats.restarts == 1 and line.rx.stats.lost == 0
    assert [f.seq for f in line.frames[4:]] == [20_001, 20_002]
    assert line.frames[-1].ts == line.frames[3].ts + 3 * 160  # the first of them is not heard


@pytest.mark.parametrize("jump", [2**31 - 5, -(2**30), 50_000_000, -4000])
def test_a_jump_of_the_senders_clock_is_no_pause(jump: int) -> None:
    line = Line(receiver())
    for n in range(3):
        line.send(packet(n, ts0=2**31))
    for n in range(3, 6):
        line.send(packet(n, ts0=(2**31 + jump) % 2**32))
    steps = [b.ts - a.ts for a, b in zip(line.frames, line.frames[1:], strict=False)]
    assert steps == [160] * 5 and line.rx.stats.clock_jumps == 1


def test_stalled_arrivals_are_no_jump() -> None:
    line = Line(receiver())
    for n in range(100):
        line.send(packet(n), 100 * FRAME_US if n > 10 else n * FRAME_US)
    assert [f.ts for f in line.frames] == [160 * n for n in range(100)]
    assert line.rx.stats.clock_jumps == 0


def event(seq: int, ts: int, code: int, end: bool = False, ssrc: int = 7) -> bytes:
    told = TelephoneEvent(code, end, 10, 160)
    return serialise(RtpPacket(101, seq, ts, ssrc, serialise_event(told)))


def test_a_key_press_is_one_digit() -> None:
    line = Line(receiver())
    line.send(packet(0))
    seq = 1
    for ts, code in ((160, 4), (2000, 11), (4000, 4), (6000, 16)):
        for k in range(5):
            line.send(event(seq, ts, code, end=k >= 2))
            seq += 1
    line.send(event(seq - 3, 4000, 4))  # a duplicate packet
    assert line.digits == "4#4"


def test_a_key_press_survives_the_loss_of_all_but_one_packet() -> None:
    line = Line(receiver())
    line.send(packet(0), 0)
    line.send(event(4, 160, 12, end=True), 20_000)
    line.out += line.rx.poll(100_000)
    assert line.digits == "A"


def test_key_presses_do_not_disturb_the_sounds_clock() -> None:
    line = Line(receiver())
    line.send(packet(0))
    line.send(event(1, 160, 5))
    line.send(event(2, 160, 5, end=True))
    line.send(serialise(RtpPacket(0, 3, 480, 7, bytes(160))))
    assert [f.ts for f in line.frames] == [0, 480] and line.frames[1].lost == 0


def test_l16_at_16_khz_and_a_foreign_rate() -> None:
    line = Line(receiver())
    for n in range(3):
        line.send(packet(n, kind=118, step=320)[:12] + bytes(640))
    assert [f.ts for f in line.frames] == [0, 320, 640] and line.frames[0].leg.rate_hz == 16000
    line.send(packet(3, kind=0, step=320))
    line.send(serialise(RtpPacket(118, 4, 1280, 7, b"odd")))
    assert len(line.frames) == 3
    assert line.rx.stats.payload_type == 1 and line.rx.stats.malformed == 1


def test_unknown_payload_types_and_rtcp_are_dropped() -> None:
    line = Line(receiver())
    line.send(packet(0, kind=96))
    line.send(b"\x80\xc8\x00\x06" + bytes(24))
    assert not line.out and line.rx.remote is None and line.rx.stats.payload_type == 1


def test_jitter_follows_rfc_3550() -> None:
    line = Line(receiver())
    for n in range(200):
        line.send(packet(n), n * FRAME_US)
    assert line.rx.stats.jitter == 0
    for n in range(200, 400):
        line.send(packet(n), n * FRAME_US + (n % 2) * 10_000)
    assert line.rx.stats.jitter == pytest.approx(80, rel=0.05)  # 10 ms at 8 kHz


def test_a_leg_goes_on_after_a_restart_of_the_edge() -> None:
    line = Line(receiver())
    for n in range(10):
        line.send(packet(n, seq0=65_530, ts0=2**32 - 800))
    (leg, end_ts, next_seq) = line.rx.legs()[0]
    again = Line(receiver(known=[Known(leg, end_ts + 16_000, next_seq + 100)]))
    for n in range(110, 115):  # two seconds later
        again.send(packet(n, seq0=65_530, ts0=2**32 - 800))
    assert again.frames[0].leg is leg
    assert [f.ts for f in again.frames] == [2**32 - 800 + 160 * n for n in range(110, 115)]
    assert [f.seq for f in again.frames] == [65_530 + n for n in range(110, 115)]
    assert again.rx.stats.lost == 0


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.builds(
                lambda kind, seq, ts, ssrc, payload: serialise(
                    RtpPacket(kind, seq, ts, ssrc, payload)
                ),
                st.sampled_from([0, 8, 11, 13, 96, 101, 118]),
                st.integers(0, 2**16 - 1),
                st.integers(0, 2**32 - 1),
                st.integers(0, 20),
                st.binary(max_size=170),
            ),
        ),
        max_size=120,
    )
)
def test_hostile_input_never_crashes_nor_grows(datagrams: list[bytes]) -> None:
    line = Line(receiver())
    for data in datagrams:
        line.send(data)
    line.out += line.rx.flush()
    assert len(line.rx.legs()) <= MAX_SSRCS and not line.rx.waiting
    assert len(line.out) <= len(datagrams)
    last: dict[int, int] = {}
    for frame in line.frames:
        assert frame.seq > last.get(frame.leg.ssrc, -1)
        last[frame.leg.ssrc] = frame.seq
