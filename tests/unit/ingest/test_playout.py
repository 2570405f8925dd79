"""Playout: order, pacing, flush, pause at a voice onset, what was heard, keys, and the pacer."""

import pytest

from ingest.sound.pacer import MAX_LATE_US, TICK_US, Pacer
from ingest.sound.playout import (
    MAX_FALSE,
    MAX_PAUSES,
    MAX_QUEUED,
    PAUSE_US,
    BargeIn,
    Ended,
    Keys,
    KeyTick,
    Mark,
    Marked,
    Paused,
    Playout,
    PlayoutEvent,
    Prompt,
    QueueFull,
    Resumed,
    Say,
    Started,
)


def say(name: str, frames: int, barge_in: BargeIn = "never") -> Say:
    sound = tuple(f"{name}{n}".encode() for n in range(frames))
    return Say(name, name, Prompt(sound, (50.0,) * frames), barge_in)


class Clock:
    """Ticks a playout every 20 ms and keeps what it sent and reported."""

    def __init__(self) -> None:
        self.playout = Playout()
        self.now_us = 0
        self.sent: list[bytes | None] = []
        self.keys: list[KeyTick | None] = []
        self.events: list[PlayoutEvent] = []
        self.spurts: list[bool] = []

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            tick = self.playout.tick(self.now_us)
            self.now_us += TICK_US
            self.sent.append(tick.frame)
            self.keys.append(tick.key)
            self.spurts.append(tick.talkspurt)
            self.events += tick.events


def test_prompts_play_in_order_without_a_gap() -> None:
    clock = Clock()
    first, second = say("a", 3), say("b", 2)
    clock.playout.add(first)
    clock.playout.add(second)
    clock.run(7)
    assert clock.sent == [b"a0", b"a1", b"a2", b"b0", b"b1", None, None]
    assert clock.spurts == [True, False, False, False, False, False, False]
    assert clock.events == [
        Started(first), Ended(first, 60, True), Started(second), Ended(second, 40, True),
    ]  # fmt: skip
    assert clock.playout.idle


def test_flush_is_silent_with_the_next_frame_and_tells_what_was_heard() -> None:
    clock = Clock()
    first, second = say("a", 50), say("b", 5)
    clock.playout.add(first)
    clock.playout.add(Mark("m"))
    clock.playout.add(second)
    clock.run(7)
    assert clock.playout.flush() == (Ended(first, 140, False), Marked("m"), Ended(second, 0, False))
    clock.run(3)
    assert clock.sent[7:] == [None] * 3
    assert clock.playout.flush() == ()
    clock.playout.add(second)
    clock.run(1)
    assert clock.sent[-1] == b"b0" and clock.spurts[-1]


def test_a_flush_after_the_last_frame_reports_a_complete_prompt() -> None:
    clock = Clock()
    prompt = say("a", 2)
    clock.playout.add(prompt)
    clock.run(2)
    assert clock.playout.flush() == (Ended(prompt, 40, True),)


def test_an_onset_pauses_and_the_prompt_resumes_by_itself() -> None:
    clock = Clock()
    prompt = say("a", 40, "speech")
    clock.playout.add(prompt)
    clock.run(10)
    assert clock.playout.onset(clock.now_us) and clock.playout.paused
    assert not clock.playout.onset(clock.now_us)
    clock.run(PAUSE_US // TICK_US)
    assert clock.sent[10:] == [None] * (PAUSE_US // TICK_US)
    clock.run(31)
    assert clock.sent[-31:-1] == [f"a{n}".encode() for n in range(10, 40)]
    assert clock.spurts[40]
    assert clock.events == [Started(prompt), Resumed(prompt, 200, 1), Ended(prompt, 800, True)]


def test_a_prompt_resumes_at_its_last_pause_for_breath_and_what_was_heard_stays_heard() -> None:
    clock = Clock()
    levels = tuple(20.0 if n in (3, 8, 21) else 50.0 for n in range(40))
    prompt = Say("a", "a", Prompt(say("a", 40).prompt.frames, levels), "speech")
    clock.playout.add(prompt)
    clock.run(18)
    assert clock.playout.onset(clock.now_us) == Paused(prompt, 360, 1)
    clock.run(PAUSE_US // TICK_US + 1)
    assert clock.sent[-1] == b"a8" and clock.events[-1] == Resumed(prompt, 160, 1)
    clock.run(3)
    assert clock.playout.flush() == (Ended(prompt, 360, False),), "not less than before"


def test_a_pause_at_the_end_says_nothing_again() -> None:
    clock = Clock()
    prompt = say("a", 10, "speech")
    clock.playout.add(prompt)
    clock.run(10)
    clock.playout.onset(clock.now_us)
    clock.run(PAUSE_US // TICK_US + 2)
    assert [s for s in clock.sent if s] == [f"a{n}".encode() for n in range(10)]
    assert clock.events[-1] == Ended(prompt, 200, True)


def test_a_paused_prompt_waits_for_somebody_to_hear_it() -> None:
    playout = Playout()
    playout.add(say("a", 10, "speech"))
    playout.tick(0)
    assert playout.onset(0)
    assert playout.tick(PAUSE_US, ready=False).events == () and playout.paused
    assert playout.tick(PAUSE_US + TICK_US).frame == b"a1"


def test_a_voice_that_goes_on_is_given_the_time_of_its_first_words() -> None:
    for voiced_ms, paused_ms in ((200, 600), (580, 680), (5_000, 1_000)):
        clock = Clock()
        clock.playout.add(say("a", 100, "speech"))
        clock.run(10)
        clock.playout.onset(clock.now_us)
        begun_us = clock.now_us
        while clock.playout.paused:
            if clock.now_us - begun_us <= voiced_ms * 1000:
                clock.playout.voice(clock.now_us)
            clock.run(1)
        waited_ms = (clock.now_us - TICK_US - begun_us) // 1000
        assert paused_ms <= waited_ms <= paused_ms + 40, (voiced_ms, waited_ms)


def test_a_stop_ends_a_paused_prompt() -> None:
    clock = Clock()
    prompt = say("a", 40, "speech")
    clock.playout.add(prompt)
    clock.run(10)
    clock.playout.onset(clock.now_us)
    clock.run(5)
    assert clock.playout.flush() == (Ended(prompt, 200, False),)
    clock.run(60)
    assert clock.sent[10:] == [None] * 65


@pytest.mark.parametrize("policy", ["never", "words"])
def test_other_prompts_do_not_pause(policy: BargeIn) -> None:
    clock = Clock()
    clock.playout.add(say("a", 10, policy))
    clock.run(2)
    assert not clock.playout.onset(clock.now_us)
    clock.run(1)
    assert clock.sent[-1] == b"a2"


def test_a_noisy_line_cannot_stretch_a_prompt_for_ever() -> None:
    clock = Clock()
    clock.playout.add(say("a", 20, "speech"))
    for _ in range(MAX_PAUSES + 2):
        clock.run(1)
        clock.playout.onset(clock.now_us)
        clock.run(PAUSE_US // TICK_US)
    clock.run(20)
    assert {s for s in clock.sent if s} == {f"a{n}".encode() for n in range(20)}
    assert clock.sent.count(None) <= MAX_PAUSES * PAUSE_US // TICK_US + 100
    assert clock.playout.idle


def test_a_line_that_cries_wolf_is_believed_no_more_until_words_come() -> None:
    clock, paused = Clock(), 0
    for n in range(4):
        clock.playout.add(say(f"p{n}", 60, "speech"))
        for _ in range(2):
            clock.run(10)
            paused += clock.playout.onset(clock.now_us) is not None
            clock.run(PAUSE_US // TICK_US)
        clock.run(120)
        assert clock.playout.idle
    assert paused == MAX_FALSE
    clock.playout.add(say("q", 60, "speech"))
    clock.run(10)
    assert clock.playout.onset(clock.now_us) is None
    clock.playout.flush()
    assert clock.playout.onset(clock.now_us) is None, "it had not paused: nothing is learnt"


def test_words_after_a_pause_give_the_line_its_trust_back() -> None:
    clock = Clock()
    for n in range(2 * MAX_FALSE):
        clock.playout.add(say(f"p{n}", 60, "speech"))
        clock.run(10)
        assert clock.playout.onset(clock.now_us) is not None
        clock.run(PAUSE_US // TICK_US + 2)
        if n % MAX_FALSE == MAX_FALSE - 1:
            clock.playout.flush()
        clock.run(120)


def test_an_onset_before_the_first_frame_pauses_nothing() -> None:
    playout = Playout()
    playout.add(say("a", 5, "speech"))
    assert not playout.onset(0)


def test_marks_are_reached_in_order_and_at_once_when_nothing_plays() -> None:
    clock = Clock()
    clock.playout.add(Mark("x"))
    clock.run(1)
    assert clock.events == [Marked("x")]
    clock.playout.add(say("a", 2))
    clock.playout.add(Mark("y"))
    clock.run(2)
    assert Marked("y") not in clock.events
    clock.run(1)
    assert clock.events[-1] == Marked("y")


def test_keys_have_tone_end_and_pause() -> None:
    clock = Clock()
    clock.playout.add(Keys("5#"))
    clock.playout.add(say("a", 1))
    clock.run(29)
    first = [KeyTick("5", n, n >= 8) for n in range(11)] + [None] * 3
    second = [KeyTick("#", n, n >= 8) for n in range(11)] + [None] * 3
    assert clock.keys == [*first, *second, None]
    assert clock.sent[-1] == b"a0"


def test_the_queue_is_bounded() -> None:
    playout = Playout()
    for _ in range(MAX_QUEUED):
        playout.add(Mark("m"))
    with pytest.raises(QueueFull):
        playout.add(Mark("m"))
    assert len(playout.flush()) == MAX_QUEUED


def drive(pacer: Pacer, now_us: int, until_us: int, late_us: dict[int, int]) -> list[int]:
    """Wakes as the pacer asks, `late_us[n]` later at the n-th wake; returns times of ticks."""
    times, wake = [], 0
    while now_us < until_us:
        if pacer.due(now_us):
            times.append(now_us)
        now_us += pacer.wait_us(now_us) + late_us.get(wake, 0)
        wake += 1
    return times


def test_ticks_keep_their_grid() -> None:
    times = drive(Pacer(0), 0, 1_000_000, dict.fromkeys(range(0, 50, 7), 3000))
    assert len(times) == 50
    assert all(0 <= t - n * TICK_US <= 3_000 for n, t in enumerate(times))


def test_lateness_is_made_up_without_a_burst() -> None:
    times = drive(Pacer(0), 0, 2_000_000, {5: 130_000})
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert min(gaps) >= TICK_US // 2
    assert len(times) == 100, "no tick is lost"
    assert times[-1] == 99 * TICK_US


def test_a_long_stall_moves_the_grid_on() -> None:
    pacer = Pacer(0)
    times = drive(pacer, 0, 3_000_000, {5: 1_000_000})
    assert pacer.skipped == 50 and len(times) == 150 - 50
    assert min(b - a for a, b in zip(times, times[1:], strict=False)) >= TICK_US // 2
    assert MAX_LATE_US < 1_000_000
