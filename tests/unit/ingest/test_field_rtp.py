"""What far ends do in the field over RTP: ports that change, strangers, keys, holds, bursts."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.rtp.packet import RtpPacket, TelephoneEvent, serialise, serialise_event
from ingest.rtp.receiver import Receiver
from ingest.sound.types import Digit, Frame
from tests.unit.ingest.test_receiver import FRAME_US, PEER, Line, number, packet, receiver

MOVED = ("127.0.0.1", 40_002)
ELSEWHERE = ("127.0.0.2", 40_000)
STRANGER = ("127.0.0.1", 40_004)


def cn(seq: int, ts: int, ssrc: int = 7) -> bytes:
    return serialise(RtpPacket(13, seq & 0xFFFF, ts & 0xFFFFFFFF, ssrc, b"\x40"))


def talk(line: Line, first: int, last: int, address: tuple[str, int] = PEER, **kw: int) -> None:
    """Packets first..last at their times on one clock of 20 ms."""
    for n in range(first, last):
        line.send(packet(n, **kw), n * FRAME_US, address)


# Sources -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("now_at", [MOVED, ELSEWHERE])
def test_T2_a_source_that_moves_is_followed_within_a_second(now_at: tuple[str, int]) -> None:
    line = Line(receiver())
    talk(line, 0, 250)
    talk(line, 250, 300, now_at)
    assert line.rx.remote == now_at, "the robot's voice goes there now"
    assert [number(f) for f in line.frames] == list(range(300)), "no packet is lost"
    assert len({id(f.leg) for f in line.frames}) == 1 and line.rx.stats.lost == 0
    took = next(n for n in range(250, 300) if len(line.frames) > 250)
    assert took * FRAME_US <= 251 * FRAME_US + 1_000_000


def test_T2_a_wrong_remote_is_found_out() -> None:
    line = Line(receiver(remote=("10.9.9.9", 9)))
    assert line.rx.remote == ("10.9.9.9", 9)
    talk(line, 0, 50)
    assert line.rx.remote == PEER and [number(f) for f in line.frames] == list(range(50))


@pytest.mark.parametrize("ssrc", [7, 8])
@pytest.mark.parametrize("announced", [None, PEER])
def test_T2_a_stranger_beside_a_living_source_is_never_taken(
    ssrc: int, announced: tuple[str, int] | None
) -> None:
    line = Line(receiver(remote=announced))
    talk(line, 0, 50)
    for n in range(50, 1050):
        line.send(packet(n), n * FRAME_US)
        line.send(packet(n + 3, ssrc=ssrc, ts0=5), n * FRAME_US + 5_000, STRANGER)
    assert line.rx.remote == PEER
    assert [number(f) for f in line.frames] == list(range(1050))


def test_T2_a_stranger_in_a_suppressed_silence_is_not_taken_for_seconds() -> None:
    line = Line(receiver())
    talk(line, 0, 50)
    line.send(cn(50, 50 * 160), 50 * FRAME_US)
    for n in range(51, 250):
        line.send(packet(n, ssrc=8), n * FRAME_US, STRANGER)
    assert line.rx.remote == PEER and len(line.frames) == 50


def test_T2_a_stranger_that_came_first_yields_to_the_announced_source() -> None:
    line = Line(receiver(remote=PEER))
    talk(line, 0, 50, STRANGER, ssrc=9)
    assert line.rx.remote == STRANGER
    for n in range(50, 80):
        line.send(packet(n, ssrc=9), n * FRAME_US, STRANGER)
        line.send(packet(n), n * FRAME_US + 3_000)
    assert line.rx.remote == PEER and line.frames[-1].leg.ssrc == 7
    assert number(line.frames[-1]) == 79


def test_review_9_the_announced_ssrc_decides_who_is_heard_first() -> None:
    rx = receiver()
    rx.gate.announce(("10.1.1.1", 5), 7)
    line = Line(rx)
    for n in range(5):
        line.send(packet(n, ssrc=66), n * FRAME_US, STRANGER)
        line.send(packet(n, ssrc=7), n * FRAME_US + 1_000)
    assert {f.leg.ssrc for f in line.frames} == {7} and rx.remote == PEER


def test_review_4_a_stray_packet_cuts_no_leg() -> None:
    line = Line(receiver())
    for n in range(500):
        line.send(packet(n), n * FRAME_US)
        if n % 50 == 25:
            line.send(cn(n, 5, ssrc=100 + n), n * FRAME_US + 1_000)
            line.send(packet(3, ssrc=200 + n), n * FRAME_US + 2_000)
    assert [number(f) for f in line.frames] == list(range(500))
    assert len({id(f.leg) for f in line.frames}) == 1


def test_review_4_foreign_ssrcs_first_do_not_make_the_call_deaf() -> None:
    """Sixteen others come first and while the true stream is silent; it is heard all the same."""
    line = Line(receiver())
    for ssrc in range(100, 116):
        line.send(packet(0, ssrc=ssrc), (ssrc - 100) * 1_000)
    talk(line, 1, 100)
    assert [number(f) for f in line.frames if f.leg.ssrc == 7] == list(range(1, 100))
    for n in range(16):
        line.send(packet(0, ssrc=500 + n), (110 + n) * FRAME_US)
    talk(line, 130, 150)
    assert number(line.frames[-1]) == 149 and line.frames[-1].leg.ssrc == 7


def test_review_4_streams_that_take_turns_never_make_the_call_deaf() -> None:
    line, n = Line(receiver()), 0
    for turn in range(200):
        for _ in range(50):
            line.send(packet(n, ssrc=7 + turn % 2), n * FRAME_US)
            n += 1
    before = len(line.frames)
    for _ in range(300):
        line.send(packet(n, ssrc=9), n * FRAME_US)
        n += 1
    assert number(line.frames[-1]) == (n - 1) % 65536 and len(line.frames) > before + 40


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_review_4_whatever_comes_from_strangers_a_living_source_is_heard(
    seed: int, often: int
) -> None:
    rng, line = random.Random(seed), Line(receiver(remote=PEER))
    for n in range(200):
        line.send(packet(n), n * FRAME_US)
        for k in range(rng.randrange(often) if n > 3 else 0):
            data = packet(
                rng.randrange(65536), ssrc=rng.choice((1, 2, 3, rng.randrange(2**32))),
                kind=rng.choice((0, 8, 13, 101, 96, 118)), ts0=rng.randrange(2**32),
            )  # fmt: skip
            where = rng.choice((STRANGER, MOVED, (f"10.0.0.{rng.randrange(9)}", 9)))
            line.send(data, n * FRAME_US + k + 1, where)
    assert [number(f) for f in line.frames] == list(range(200))
    assert line.rx.remote == PEER


# Keys --------------------------------------------------------------------------------------------


class Pressing:
    """A far end that speaks and presses keys on one sequence."""

    def __init__(self, kind: int = 101, rx: Receiver | None = None, ssrc: int = 7) -> None:
        self.line = Line(rx or receiver())
        self.kind, self.ssrc = kind, ssrc
        self.seq, self.us = 0, 0
        self.voice(5)

    def voice(self, count: int) -> None:
        for _ in range(count):
            ts = self.us * 8 // 1000
            self.line.send(serialise(RtpPacket(0, self.seq, ts, 7, bytes(160))), self.us)
            self.step()

    def step(self) -> None:
        self.seq, self.us = self.seq + 1, self.us + FRAME_US

    def event(
        self, code: int, ts: int, duration: int, end: bool = False, marker: bool = False
    ) -> bytes:
        payload = serialise_event(TelephoneEvent(code, end, 10, duration))
        return serialise(RtpPacket(self.kind, self.seq, ts, self.ssrc, payload, marker))

    def send(
        self, code: int, ts: int, duration: int, end: bool = False, marker: bool = False
    ) -> None:
        self.line.send(self.event(code, ts, duration, end, marker), self.us)
        self.step()

    def press(self, code: int, packets: int = 8, marker: bool = True) -> None:
        """8 packets with one timestamp and growing duration, 3 end packets."""
        ts = self.us * 8 // 1000
        for k in range(packets):
            self.send(code, ts, 160 * (k + 1), marker=marker and k == 0)
        for _ in range(3):
            self.send(code, ts, 160 * packets, end=True)

    def done(self) -> str:
        self.voice(5)
        self.line.out += self.line.rx.flush()
        return self.line.digits


@pytest.mark.parametrize("kind", [96, 97, 100, 102, 110, 122])
def test_T3_keys_on_a_payload_type_that_nobody_told_us(kind: int) -> None:
    far = Pressing(kind)
    far.press(5)
    assert far.done() == "5"
    far.press(6)
    assert far.done() == "56"
    assert far.line.rx.unknown_types == {kind}, "for the warning"
    assert far.line.rx.event_type == kind, "we press keys as the far end does"
    assert far.line.rx.stats.lost == 0, "their packets are not missing from the sound"


def test_T3_a_payload_type_that_was_told() -> None:
    far = Pressing(97, receiver(event_type=97))
    far.press(5, packets=1)
    assert far.done() == "5" and not far.line.rx.unknown_types


def test_T3_sound_of_an_unknown_codec_is_no_key() -> None:
    far, rng = Pressing(96), random.Random(4)
    for _ in range(300):
        payload = rng.randbytes(rng.choice((4, 20, 33)))
        ts = far.us * 8 // 1000
        far.line.send(serialise(RtpPacket(96, far.seq, ts, 7, payload)), far.us)
        far.step()
    assert far.done() == "" and far.line.rx.stats.payload_type == 300


def test_T6_a_key_that_is_held_for_20_s() -> None:
    far = Pressing()
    ts = far.us * 8 // 1000
    for k in range(1000):
        segment, within = divmod(160 * (k + 1), 65_535)
        far.send(5, ts + segment * 65_535, within or 65_535)
    for _ in range(3):
        far.send(5, ts + 2 * 65_535, 160_000 - 2 * 65_535, end=True)
    assert far.done() == "5"


@pytest.mark.parametrize("moved", [160, 1280, 100_000, -90_000])
def test_T6_end_packets_with_another_timestamp(moved: int) -> None:
    far = Pressing()
    ts = far.us * 8 // 1000 + 1_000_000
    for k in range(8):
        far.send(5, ts, 160 * (k + 1))
    for _ in range(3):
        far.send(5, ts + moved, 1280, end=True)
    assert far.done() == "5"


def test_T6_every_packet_with_its_own_timestamp() -> None:
    far = Pressing()
    for k in range(8):
        far.send(5, far.us * 8 // 1000, 160 * (k + 1))
    for _ in range(3):
        far.send(5, far.us * 8 // 1000, 1280, end=True)
    assert far.done() == "5"


def test_T6_only_the_end_packets_arrive() -> None:
    far = Pressing()
    for _ in range(3):
        far.send(5, 1600, 1280, end=True)
    assert far.done() == "5"


def test_T6_the_same_key_again_after_80_ms_is_two() -> None:
    far = Pressing()
    far.press(5)
    far.voice(4)
    far.press(5)
    assert far.done() == "55"


def test_T6_two_presses_of_which_only_the_ends_arrive() -> None:
    far = Pressing()
    for _ in range(2):
        ts = far.us * 8 // 1000
        far.us += 160_000
        for _ in range(3):
            far.send(5, ts, 1280, end=True)
        far.us += 80_000
    assert far.done() == "55"


def test_T6_a_lost_end_does_not_join_two_presses() -> None:
    far = Pressing()
    for _ in range(2):
        ts = far.us * 8 // 1000
        for k in range(4):
            far.send(5, ts, 160 * (k + 1))
        far.us += 100_000
    assert far.done() == "55"


def test_T6_no_marker() -> None:
    far = Pressing()
    far.press(5, marker=False)
    assert far.done() == "5"


def test_T6_ends_reordered_behind_voice() -> None:
    far = Pressing()
    ts = far.us * 8 // 1000
    for k in range(8):
        far.send(5, ts, 160 * (k + 1))
    ends = []
    for _ in range(3):
        ends.append(far.event(5, ts, 1280, end=True))
        far.step()
    far.voice(1)
    for data in ends:
        far.line.send(data, far.us)
    assert far.done() == "5"


def test_review_4_keys_on_an_ssrc_of_their_own() -> None:
    """Eight keys on another SSRC: eight digits, one leg, no sound lost."""
    far = Pressing(ssrc=99)
    for code in range(8):
        own_seq = far.seq
        ts = far.us * 8 // 1000
        for k in range(11):
            payload = serialise_event(TelephoneEvent(code, k >= 8, 10, min(160 * (k + 1), 1280)))
            far.line.send(serialise(RtpPacket(101, 40_000 + own_seq + k, ts, 99, payload)), far.us)
            far.voice(1)
        far.voice(10)
    assert far.done() == "01234567"
    frames = [f for f in far.line.out if isinstance(f, Frame)]
    assert len({id(f.leg) for f in frames}) == 1 and far.line.rx.stats.lost == 0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.binary(min_size=0, max_size=6), st.integers(0, 2**32 - 1),
                          st.integers(0, 300_000)), max_size=60))  # fmt: skip
def test_any_key_packets_give_digits_or_nothing(packets: list[tuple[bytes, int, int]]) -> None:
    line, now = Line(receiver()), 0
    for n, (payload, ts, wait) in enumerate(packets):
        now += wait
        line.send(serialise(RtpPacket(101, n, ts, 7, payload)), now)
    line.out += line.rx.flush()
    assert all(isinstance(x, Digit) for x in line.out) and len(line.out) <= len(packets)


# Clocks ------------------------------------------------------------------------------------------


def place_ms(frame: Frame) -> int:
    return frame.leg.call_ms(frame.ts)


def test_T5_a_stale_frame_before_the_jump_of_a_hold() -> None:
    """5 s of sound, 10 s of nothing, one frame with the old time, then a jump by the hold."""
    line = Line(receiver())
    talk(line, 0, 250)
    at = 5_000_000 + 10_000_000
    line.send(serialise(RtpPacket(0, 250, 250 * 160, 7, bytes(160))), at)
    for n in range(251, 400):
        ts = (n - 1) * 160 + 160 + 80_000
        line.send(serialise(RtpPacket(0, n, ts, 7, bytes(160))), at + (n - 250) * FRAME_US)
    line.out += line.rx.flush()
    marked = line.frames[350]
    true_ms = (at + 100 * FRAME_US) // 1000
    assert abs(place_ms(marked) - true_ms) <= 100, "neither lost nor doubled"
    assert len(line.frames) == 400 and line.frames[249].ts == 249 * 160


@pytest.mark.parametrize("hold_s", [1, 10, 30, 70])
def test_review_8_a_clock_that_stood_still_during_a_hold(hold_s: int) -> None:
    line = Line(receiver())
    talk(line, 0, 250)
    for n in range(250, 500):
        line.send(packet(n), n * FRAME_US + hold_s * 1_000_000)
    gap_ms = place_ms(line.frames[250]) - place_ms(line.frames[249])
    assert abs(gap_ms - hold_s * 1000) <= 100
    assert [number(f) for f in line.frames] == list(range(500))
    assert abs(place_ms(line.frames[-1]) - (499 * 20 + hold_s * 1000)) <= 100


@pytest.mark.parametrize("stall_ms", [500, 1500, 3000, 5000])
def test_a_stall_of_the_network_moves_nothing(stall_ms: int) -> None:
    line = Line(receiver())
    for n in range(500):
        at = n * FRAME_US
        line.send(packet(n), max(at, 4_000_000 + stall_ms * 1000) if n >= 200 else at)
    assert [f.ts for f in line.frames] == [160 * n for n in range(500)]


def test_T1_a_pause_that_timestamps_tell_is_not_held_up() -> None:
    line = Line(receiver())
    talk(line, 0, 100)
    line.send(serialise(RtpPacket(0, 100, 500 * 160, 7, bytes(160))), 500 * FRAME_US)
    assert line.frames[-1].ts == 500 * 160


@pytest.mark.parametrize("every", [1, 10, 250])
def test_T1_comfort_noise_is_life_and_no_sound(every: int) -> None:
    """One PT 13 at the stop, every 200 ms, or every 5 s; then the next spurt, with its pause."""
    line = Line(receiver())
    talk(line, 0, 100)
    for k, n in enumerate(range(100, 500, every)):
        line.send(cn(100 + k, n * 160), n * FRAME_US)
        assert line.rx.alive_us == n * FRAME_US
    line.send(serialise(RtpPacket(0, 101 + k, 500 * 160, 7, bytes(160), True)), 500 * FRAME_US)
    assert [f.ts for f in line.frames[-2:]] == [99 * 160, 500 * 160]
    assert len({id(f.leg) for f in line.frames}) == 1 and line.rx.stats.lost == 0


def test_review_7_sound_faster_than_real_time_is_refused() -> None:
    line = Line(receiver())
    for n in range(30_000):  # 600 s of sound in 1 s
        line.send(packet(n), n * 33)
    assert len(line.frames) * 20 <= 4_000 and line.rx.stats.rate > 25_000
    for n in range(30_000, 30_500):
        line.send(packet(n), 1_000_000 + (n - 30_000) * FRAME_US)
    assert number(line.frames[-1]) == 30_499, "real time is heard again"


def test_review_20_a_change_of_the_sample_rate_in_a_call() -> None:
    line = Line(receiver())
    talk(line, 0, 100)
    for n in range(100, 200):
        data = serialise(RtpPacket(118, n, n * 160, 7, bytes(640)))
        line.send(data, n * FRAME_US)
    wide = [f for f in line.frames if f.leg.rate_hz == 16_000]
    assert len(wide) == 100 and wide[0].leg.ssrc != 7
    assert wide[0].ts > line.frames[99].ts, "a new leg, whose times repeat none"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3_000), st.booleans()), max_size=8))
def test_times_only_go_forward_and_nothing_is_lost(
    spurts: list[tuple[int, int, bool]],
) -> None:
    """Any mixture of pauses, told by the sender's clock or not."""
    line, seq, ts, us = Line(receiver()), 0, 0, 0
    for frames, pause_ms, told in spurts:
        for _ in range(frames):
            line.send(serialise(RtpPacket(0, seq, ts, 7, bytes(160))), us)
            seq, ts, us = seq + 1, ts + 160, us + FRAME_US
        us += pause_ms * 1000
        ts += pause_ms * 8 if told else 0
    line.out += line.rx.flush()
    assert len(line.frames) == seq
    assert all(b.ts >= a.ts + 160 for a, b in zip(line.frames, line.frames[1:], strict=False))
