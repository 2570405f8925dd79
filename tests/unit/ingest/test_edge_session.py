"""A session over a fake transport: both legs' chunks, onset, flush, keys, keep-alive, the end."""

from collections.abc import Iterable

import numpy as np
import pytest

from ingest.sound.chunker import LegEnd, Logged
from ingest.sound.pacer import TICK_US
from ingest.sound.playout import (
    MAX_FALSE,
    Ended,
    Keys,
    KeyTick,
    Mark,
    Marked,
    Paused,
    PlayoutEvent,
    Prompt,
    Resumed,
    Say,
    Started,
)
from ingest.sound.session import KEEPALIVE_TICKS, OPENING_TICKS, Clock, Session
from ingest.sound.silence import RTP_SILENCE
from ingest.sound.types import PCMU, Chunk, Digit, Frame, Leg, StreamIds
from ringlog.audio.g711 import Int16, encode
from tests.unit.asr_worker import noises

IDS = StreamIds(ssrc=5, first_seq=100, first_ts=8000)
LEG = Leg("customer", 7, 1600, 0, 8000)
SILENCE = b"\xff" * 160


def voice(db: float = -20) -> bytes:
    t = np.arange(160) / 8000
    wave = sum(np.sin(2 * np.pi * 150 * k * t + k) for k in range(1, 8))
    return encode("pcmu", np.asarray(wave / np.std(wave) * 32768 * 10 ** (db / 20), np.int16))


class Wire:
    """A transport that remembers."""

    silence = RTP_SILENCE
    alive_us: int | None = None
    holding = False

    @property
    def ready(self) -> bool:
        return self.connected

    def __init__(self) -> None:
        self.connected = True
        self.frames: list[tuple[int, int, bytes]] = []
        self.keys: list[tuple[int, int, KeyTick]] = []
        self.clears = 0
        self.marks: list[str] = []
        self.closed = False
        self.late: list[Frame | Digit] = []

    def send_frame(self, frame: bytes, seq: int, ts: int, talkspurt: bool) -> bool:
        if self.connected:
            self.frames.append((seq, ts, frame))
        return self.connected

    def send_key(self, key: KeyTick, seq: int, ts: int) -> int:
        self.keys.append((seq, ts, key))
        return 1

    def clear(self) -> None:
        self.clears += 1

    def mark(self, name: str) -> None:
        self.marks.append(name)

    def poll(self, now_us: int) -> Iterable[Frame | Digit]:
        out, self.late = self.late, []
        return out

    def flush(self) -> Iterable[Frame | Digit]:
        return self.poll(0)

    def close(self) -> None:
        self.closed = True


class Call:
    """An owner, a session and its ticks."""

    def __init__(self) -> None:
        self.logged: list[Logged] = []
        self.events: list[PlayoutEvent] = []
        self.digits = ""
        self.ends: list[str] = []
        self.legs: list[Leg] = []
        self.wire = Wire()
        self.session = Session("call", PCMU, Clock(0, 0), IDS, self)
        self.session.attach(self.wire)
        self.n = 0

    def on_logged(self, session: Session, logged: list[Logged]) -> None:
        self.logged += logged

    def on_playout(self, session: Session, events: Iterable[PlayoutEvent]) -> None:
        self.events += events

    def on_digit(self, session: Session, digit: Digit) -> None:
        self.digits += digit.digit

    def on_hang_up(self, session: Session, reason: str) -> None:
        self.ends.append(reason)

    def on_new_leg(self, session: Session, leg: Leg, first_seq: int) -> None:
        self.legs.append(leg)

    def run(self, ticks: int, hear: bytes | None = None) -> None:
        for _ in range(ticks):
            if hear is not None:
                frame = Frame(LEG, self.n, 1600 + 160 * self.n, hear, "pcmu", 0)
                self.session.heard((frame,), self.n * TICK_US)
            self.session.tick(self.n, self.n * TICK_US)
            self.n += 1

    def chunks(self, leg: str) -> list[Chunk]:
        return [c for c in self.logged if isinstance(c, Chunk) and c.leg.name == leg]


def say(name: str, ms: int, barge_in: str = "never") -> Say:
    frames = tuple(bytes([n % 100]) * 160 for n in range(ms // 20))
    return Say(name, name, Prompt(frames, (40.0,) * len(frames)), barge_in)  # type: ignore[arg-type]


def test_what_was_played_is_logged_on_our_clock() -> None:
    call = Call()
    call.run(10)
    call.session.play(say("a", 300))
    call.run(40)
    chunks = call.chunks("robot")
    assert b"".join(c.payload for c in chunks) == b"".join(bytes([n]) * 160 for n in range(15))
    assert [c.ts for c in chunks] == [8000 + 1600, 8000 + 2400, 8000 + 3200]
    assert chunks[0].leg.start_ts == 8000 and chunks[0].leg.call_ms(chunks[0].ts) == 200
    sent = [f for f in call.wire.frames if f[2] != SILENCE]
    assert [seq for seq, _, _ in sent] == list(range(sent[0][0], sent[0][0] + 15))
    assert [ts for _, ts, _ in sent] == [8000 + 160 * n for n in range(10, 25)]
    assert call.wire.marks == ["a"]
    assert [type(e) for e in call.events] == [Started, Ended]


def test_a_flush_is_heard_with_the_next_tick() -> None:
    call = Call()
    call.session.play(say("a", 2000))
    call.session.play(Mark("m"))
    call.run(13)
    sent = len(call.wire.frames)
    call.session.flush()
    call.run(20)
    assert call.wire.clears == 1
    assert all(f[2] == SILENCE for f in call.wire.frames[sent:])
    heard = [e.heard_ms for e in call.events if isinstance(e, Ended)]
    assert heard == [260] and Marked("m") in call.events
    assert sum(len(c.payload) for c in call.chunks("robot")) == 260 * 8


def test_speech_pauses_a_prompt_and_silence_lets_it_resume() -> None:
    call = Call()
    call.session.play(say("a", 2000, "speech"))
    call.run(40, hear=SILENCE)
    call.run(5, hear=voice())
    assert call.session.playout.paused and call.wire.clears == 1
    heard_until = len(call.chunks("robot"))
    assert heard_until > 0
    call.run(25, hear=voice())
    assert len(call.chunks("robot")) == heard_until
    call.run(120, hear=SILENCE)
    (ended,) = [e for e in call.events if isinstance(e, Ended)]
    assert ended.complete and ended.heard_ms == 2000
    assert [type(e) for e in call.events] == [Started, Paused, Resumed, Ended]
    assert sum(len(c.payload) for c in call.chunks("robot")) == 16_000
    paused = next(e for e in call.events if isinstance(e, Paused))
    said = call.chunks("robot")
    gaps = [b.leg.call_ms(b.ts) - a.leg.call_ms(a.ts) - len(a.payload) // 8
            for a, b in zip(said, said[1:], strict=False)]  # fmt: skip
    (gap,) = [g for g in gaps if g]  # the recording is silent while the prompt is paused
    assert 600 <= gap <= 720, "the voice sounds for 540 ms of it"
    assert paused.heard_ms == sum(len(c.payload) for c in said[: gaps.index(gap) + 1]) // 8


def hear(call: Call, samples: Int16) -> int:
    """A far end plays it over a robot that always speaks; returns how often the robot paused."""
    for n in range(len(samples) // 160):
        if call.session.playout.idle:
            call.session.play(say(f"p{n}", 5000, "speech"))
        part = encode("pcmu", np.asarray(samples[n * 160 : n * 160 + 160], np.int16))
        call.run(1, hear=part)
    return sum(isinstance(e, Paused) for e in call.events)


@pytest.mark.parametrize("name", ["busy", "ring_back", "fax", "dtmf"])
def test_tones_and_keys_pause_nothing(name: str) -> None:
    call = Call()
    call.run(50, hear=SILENCE)
    assert hear(call, getattr(noises, name)()) == 0


@pytest.mark.parametrize("name", ["music", "pink"])
def test_music_and_noise_hold_the_robot_up_a_few_times_at_most(name: str) -> None:
    call = Call()
    sound = noises.noise(-40, pink=True) if name == "pink" else np.tile(noises.music(), 4)
    assert 0 < hear(call, sound) <= MAX_FALSE, "60 s of it"


def test_comfort_noise_pauses_nothing() -> None:
    assert hear(Call(), noises.noise(-50, pink=False, seconds=20)) == 0


def test_speech_does_not_pause_other_prompts() -> None:
    call = Call()
    call.session.play(say("a", 400, "words"))
    call.run(25, hear=voice())
    assert any(isinstance(e, Ended) and e.complete for e in call.events)


def test_T4_a_prompt_waits_until_somebody_can_hear_it() -> None:
    call = Call()
    call.wire.connected = False
    call.session.play(say("a", 300))
    call.session.play(Mark("m"))
    call.run(300)
    assert call.events == [] and call.wire.frames == [] and call.chunks("robot") == []
    call.wire.connected = True
    call.run(40)
    sent = [f for _, _, f in call.wire.frames if f != SILENCE]
    assert sent == [bytes([n]) * 160 for n in range(15)], "from its first syllable on"
    assert [type(e) for e in call.events] == [Started, Ended, Marked]
    assert call.chunks("robot")[0].leg.call_ms(call.chunks("robot")[0].ts) == 6000


def test_review_10_what_was_not_sent_was_not_heard() -> None:
    """A far end that takes nothing for a while (a full WebSocket buffer): the prompt waits."""
    call = Call()
    call.session.play(say("a", 2000))
    call.run(20)
    call.wire.connected = False
    call.run(50)
    call.session.flush()
    (ended,) = [e for e in call.events if isinstance(e, Ended)]
    assert ended.heard_ms == 400 == 20 * len([f for f in call.wire.frames if f[2] != SILENCE])
    call.session.play(say("b", 100))
    events = call.session.close(call.n * TICK_US)
    assert [e.heard_ms for e in events if isinstance(e, Ended)] == [0]


def test_T4_marks_need_nobody() -> None:
    call = Call()
    call.wire.connected = False
    call.session.play(Mark("m"))
    call.run(1)
    assert call.events == [Marked("m")]


def test_review_24_a_hand_over_logs_what_is_pending() -> None:
    call = Call()
    call.session.play(say("a", 2000))
    call.run(3, hear=voice())
    call.wire.late = [Frame(LEG, 3, 1600 + 480, voice(), "pcmu", 0)]
    call.session.leave(call.n * TICK_US)
    assert sum(len(c.payload) for c in call.chunks("customer")) == 640
    assert sum(len(c.payload) for c in call.chunks("robot")) == 480
    assert not any(isinstance(x, LegEnd) for x in call.logged) and not call.wire.closed
    call.session.leave(call.n * TICK_US)
    assert call.session.close(0) == ()


def test_silence_keeps_the_line_open() -> None:
    call = Call()
    call.run(3 * KEEPALIVE_TICKS)
    assert len(call.wire.frames) == OPENING_TICKS + 2
    seqs = [seq for seq, _, _ in call.wire.frames]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) and seqs[0] == 100


def test_keys_are_sent_with_one_timestamp_each() -> None:
    call = Call()
    call.run(10)
    call.session.play(Keys("1#"))
    call.run(40)
    assert [k.digit for _, _, k in call.wire.keys] == ["1"] * 11 + ["#"] * 11
    assert {ts for _, ts, k in call.wire.keys if k.digit == "1"} == {8000 + 1600}
    seqs = [seq for seq, _, _ in call.wire.keys]
    assert seqs == list(range(seqs[0], seqs[0] + 22))


def test_sound_that_stops_is_logged_without_waiting_for_more() -> None:
    call = Call()
    call.run(3, hear=voice())
    assert call.chunks("customer") == []
    call.run(10)
    (chunk,) = call.chunks("customer")
    assert chunk.ts == 1600 and len(chunk.payload) == 480


def test_digits_and_new_legs_reach_the_owner() -> None:
    call = Call()
    call.session.heard((Digit("4", 7, 1), Digit("2", 7, 2)), 0)
    call.run(2, hear=voice())
    assert call.digits == "42" and call.legs == [LEG]


def test_the_end_logs_everything_once() -> None:
    call = Call()
    call.session.play(say("a", 2000))
    call.run(3, hear=voice())
    call.wire.late = [Frame(LEG, 3, 1600 + 480, voice(), "pcmu", 0)]
    events = call.session.close(call.n * TICK_US)
    assert [e.heard_ms for e in events if isinstance(e, Ended)] == [60]
    assert sum(len(c.payload) for c in call.chunks("customer")) == 640
    ends = [x for x in call.logged if isinstance(x, LegEnd)]
    assert [(e.leg.name, e.ts) for e in ends] == [("customer", 2240), ("robot", 8480)]
    assert call.wire.closed and call.session.close(0) == ()
    before = len(call.logged)
    call.session.heard((Frame(LEG, 4, 2240, voice(), "pcmu", 0),), 0)
    call.session.hang_up("late")
    assert len(call.logged) == before and call.ends == []


def test_a_later_connection_replaces_the_earlier() -> None:
    call, second = Call(), Wire()
    call.run(10)
    call.session.attach(second)
    assert call.wire.closed
    call.session.play(say("a", 100))
    call.run(6)
    assert [f[0] for f in second.frames] == list(range(105, 110))
    call.session.detach(call.wire)
    assert call.session.transport is second
    call.session.detach(second)
    assert call.session.transport is None
    call.run(100)


def test_review_7_no_fingers_press_so_many_keys() -> None:
    """Keys are limited whatever they travel over: each is a record that is kept for ever."""
    call = Call()
    call.session.heard([Digit("1", 7, n) for n in range(10_000)], 0)
    assert 50 <= len(call.digits) <= 70
    for second in range(1, 11):
        call.session.heard([Digit("2", 7, second * 1000 + n) for n in range(1000)], second * 10**6)
    assert 140 <= call.digits.count("2") <= 160
    calm = Call()
    for n in range(600):
        calm.session.heard((Digit("3", 7, n),), n * 100_000)
    assert len(calm.digits) == 600


def test_T1_comfort_noise_is_life() -> None:
    call = Call()
    call.run(5, hear=voice())
    call.run(100)
    now_us = call.n * TICK_US
    assert call.session.quiet_us(now_us) == now_us - 4 * TICK_US
    call.wire.alive_us = 90 * TICK_US
    assert call.session.quiet_us(now_us) == now_us - 90 * TICK_US
    call.run(1, hear=voice())
    assert call.session.quiet_us(now_us) == 0


def test_a_call_that_an_earlier_edge_opened_is_not_quiet_at_once() -> None:
    """After a restart the far end has the same time as ever to come back."""
    call = Call()
    call.session.since_us = 400_000_000
    assert call.session.quiet_us(400_500_000) == 500_000
