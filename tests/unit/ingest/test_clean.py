"""Cleaned sound: the same packets with other samples in them, whatever their sizes and holes."""

import threading
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.sound import clean_line
from ingest.sound.chunker import Chunker, Logged
from ingest.sound.clean import Cleaner, Job
from ingest.sound.clean_line import MOST_WAITING, CleanLine, CleanThreads, apm_of
from ingest.sound.cleaning import CHOICES, OFF, Cleaning, Cleanings, cleaning_of
from ingest.sound.delay import EchoWatch
from ingest.sound.log import media_event
from ingest.sound.onset import level_db
from ingest.sound.pacer import TICK_US
from ingest.sound.played import Played
from ingest.sound.session import Clock, Session
from ingest.sound.types import PCMU, SAMPLE_BYTES, Chunk, CodecName, Format, Frame, Leg
from ringlog.audio.g711 import Int16, decode, encode
from ringlog.settings import Settings
from tests.unit.ingest.test_echo import PROMPTS, WORDS, Sound, coded, prompt, speech
from tests.unit.ingest.test_edge_session import IDS, Call
from tests.unit.ingest.test_media_log import STAMP

LEG = Leg("customer", 7, 1600, 0, 8000)
BOTH = CHOICES["noise+echo"]
INLINE = CleanThreads(0)


class Remembering:
    """A module that negates, and remembers."""

    def __init__(self) -> None:
        self.given: list[Int16] = []
        self.reference: list[Int16] = []
        self.delays: list[int] = []

    def set_delay(self, delay_ms: int) -> None:
        self.delays.append(delay_ms)

    def play(self, reference: Int16) -> None:
        self.reference.append(reference.copy())

    def clean(self, samples: Int16) -> Int16:
        self.given.append(samples.copy())
        return np.asarray(-samples, np.int16)


class Modules:
    """Makes them."""

    def __init__(self) -> None:
        self.made: list[tuple[Cleaning, int, int, Remembering]] = []

    def __call__(self, cleaning: Cleaning, rate_hz: int, reference_hz: int) -> Remembering:
        module = Remembering()
        self.made.append((cleaning, rate_hz, reference_hz, module))
        return module


def frame(seq: int, ts: int, samples: Int16, codec: CodecName = "pcmu", lost: int = 0) -> Frame:
    return Frame(LEG, seq, ts, encode(codec, samples), codec, lost)


def noise(count: int, seed: int = 1, level: float = 500) -> Int16:
    return np.random.default_rng(seed).normal(0, level, count).astype(np.int16)


def tone(count: int, level: float = 3000) -> Int16:
    return np.asarray(level * np.sin(np.arange(count) * 0.35), np.int16)


def shape(logged: list[Logged]) -> list[tuple[object, ...]]:
    """All of a chunk but its samples."""
    return [
        (c.leg.ssrc, c.first_seq, c.ts, len(c.payload), c.codec, c.lost) if isinstance(c, Chunk)
        else tuple(c)
        for c in logged
    ]  # fmt: skip


# What is chosen -----------------------------------------------------------------------------------


def test_a_trunk_says_what_is_done_else_the_site() -> None:
    rule = Cleanings("noise", {"gateway": "off", "plain": "noise+echo", "other": ""})
    assert rule.processing_for("gateway") == OFF and not OFF.any
    assert rule.processing_for("plain") == Cleaning(noise=True, echo=True)
    assert rule.processing_for("other") == rule.processing_for("unknown") == cleaning_of("noise")
    assert [cleaning_of(name).mark for name in CHOICES] == ["", "aec", "noise", "aec", "noise+aec"]


def test_an_unknown_choice_is_an_error_that_names_the_known() -> None:
    with pytest.raises(ValueError, match=r"'loud'; known: off, auto, noise, echo, noise\+echo"):
        Cleanings("off", {"a": "loud"})
    with pytest.raises(ValueError, match="clean"):
        Settings.model_validate({"clean": "loud"})


# Packets ------------------------------------------------------------------------------------------

PIECES = st.lists(
    st.tuples(
        st.integers(1, 700),  # samples
        st.integers(-900, 900),  # from where the last one ended
        st.integers(0, 3),  # lost before it
        st.sampled_from(["pcmu", "pcmu", "pcma", "l16"]),
        st.integers(0, 9),  # 0: a new leg
        st.booleans(),  # the far end falls silent after it
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(PIECES, st.sampled_from([8000, 16000]), st.sampled_from([8000, 16000]))
def test_chunks_are_cut_as_without(
    pieces: list[tuple[int, int, int, CodecName, int, bool]], rate_hz: int, our_hz: int
) -> None:
    modules = Modules()
    line = CleanLine("call", BOTH, Format("l16", our_hz), INLINE, modules)
    plain, cleaned, out = Chunker(), Chunker(), list[Frame]()
    expected: list[Logged] = []
    got: list[Logged] = []
    leg, ts, ssrc = Leg("customer", 1, 800, 40, rate_hz), 800, 1
    sent: list[Frame] = []
    for n, (count, gap, lost, codec, new, ends) in enumerate(pieces):
        if not new:
            ssrc += 1
            leg = Leg("customer", ssrc, ts, leg.call_ms(ts), rate_hz)
        at = max(leg.start_ts, ts + (gap if gap > 0 or n % 3 == 0 else 0))
        sent.append(Frame(leg, n, at, encode(codec, tone(count)), codec, lost))
        ts = at + count
        expected += plain.push(sent[-1])
        line.ticked(leg.call_ms(ts) // 20)
        line.push(sent[-1])
        done = line.take() + (line.finish() if ends else [])
        out += done
        for one in done:
            got += cleaned.push(one)
        assert len(line._cleaner._in) < rate_hz // 100, "less than a block waits"
    for one in line.finish():
        out.append(one)
        got += cleaned.push(one)
    assert not line.holding
    assert [f[:3] for f in out] == [f[:3] for f in sent], "each once, in order"
    whole = [c for c in got if not isinstance(c, Chunk) or c.cleaned]
    assert shape(expected + plain.end()) == shape(got + cleaned.end())
    assert all(c.cleaned == "noise+aec" for c in whole if isinstance(c, Chunk))
    for _, theirs, ours, module in modules.made:
        assert {len(x) for x in module.given} == {theirs // 100}
        assert {len(x) for x in module.reference} == {ours // 100}
        assert len(module.given) == len(module.reference)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=30))
def test_what_comes_out_is_what_the_module_gave(sizes: list[int]) -> None:
    module, done = Remembering(), deque[Frame]()
    cleaner = Cleaner(CHOICES["noise"], lambda *_: module, done, Played(8000))
    sound, at = noise(sum(sizes)), 0
    for n, size in enumerate(sizes):
        cleaner.push(Job(frame(n, 1600 + at, sound[at : at + size], "l16")))
        at += size
    cleaner.flush()
    out = np.concatenate([decode("l16", f.payload) for f in done])
    assert np.array_equal(out, -sound), "no sample lost, added or moved"
    assert np.array_equal(np.concatenate(module.given)[:at], sound)
    assert not np.concatenate(module.given)[at:].any(), "silence stands for what did not come"


def test_what_is_logged_says_what_was_done() -> None:
    line = CleanLine("call", BOTH, PCMU, INLINE, Modules())
    line.push(frame(1, 1600, tone(160)))
    assert line.take() == [] and line.holding, "our own tick beside it has not come"
    line.ticked(0)
    (done,) = line.take()
    assert (done.codec, done.cleaned) == ("pcmu", "noise+aec")
    chunker = Chunker()
    assert chunker.push(done) == []
    (chunk,) = chunker.flush()
    assert isinstance(chunk, Chunk)
    assert media_event(STAMP, chunk, 0).processing == "noise+aec"
    assert np.array_equal(decode("pcmu", chunk.payload), -decode("pcmu", encode("pcmu", tone(160))))
    echo = media_event(STAMP, chunk._replace(echo=True), 0)
    assert echo.processing == "noise+aec+echo" and echo.is_echo
    assert not media_event(STAMP, chunk, 0).is_echo


def test_a_new_leg_gets_a_new_module() -> None:
    modules = Modules()
    line = CleanLine("call", BOTH, PCMU, INLINE, modules)
    wide = Leg("customer", 8, 5, 100, 16000)
    line.push(frame(1, 1600, tone(160)))
    line.push(Frame(wide, 2, 5, encode("l16", tone(320)), "l16", 0))
    line.push(Frame(wide, 3, 325, encode("l16", tone(320)), "l16", 0))
    line.ticked(10)
    assert [(made[1], len(made[3].given)) for made in modules.made] == [(8000, 2), (16000, 4)]
    assert len(line.take()) == 3


def test_a_hole_is_bridged_for_the_canceller_only() -> None:
    modules = Modules()
    echo = CleanLine("call", CHOICES["echo"], PCMU, INLINE, modules)
    quiet = CleanLine("call", CHOICES["noise"], PCMU, INLINE, modules)
    for line in (echo, quiet):
        line.push(frame(1, 1600, tone(160)))
        line.push(frame(5, 1600 + 4 * 160, tone(160), lost=3))
        line.push(frame(900, 1600 + 900 * 160, tone(160)))
        line.ticked(901)
        assert len(line.take()) == 3
    assert [len(made[3].given) for made in modules.made] == [2 + 6 + 2 + 60 + 2, 6]


def test_the_reference_is_what_we_sent_at_that_time() -> None:
    modules = Modules()
    line = CleanLine("call", CHOICES["echo"], PCMU, INLINE, modules)
    ours = tone(50 * 160)
    for n in range(50):
        octets = encode("pcmu", ours[n * 160 :][:160])
        line.push(frame(n, 1600 + n * 160, noise(160)))
        line.said(n, octets)
        line.ticked(n)
    heard = np.concatenate(modules.made[0][3].reference)
    sent = decode("pcmu", encode("pcmu", ours))
    assert np.array_equal(heard, sent) and len(line.take()) == 50


def test_a_first_packet_that_came_late_moves_the_reference_and_a_stall_does_not() -> None:
    line = CleanLine("call", CHOICES["echo"], PCMU, INLINE, Modules())
    for n in range(
        100
    ):  # the far end's packets come 140 ms before the ticks beside them, 120 of it too early
        if n >= 7:
            line.ticked(n - 7)
        line.push(frame(n, 1600 + n * 160, noise(160)))
    assert line.lead_ms == 120
    for n in range(100, 120):
        line.push(frame(n, 1600 + n * 160, noise(160)))
    assert line.lead_ms == 120
    for n in range(120, 400):
        line.push(frame(n, 1600 + n * 160, noise(160)))
    assert line.lead_ms == 400, "no further"


# The thread ---------------------------------------------------------------------------------------


def test_a_thread_gives_what_the_same_call_gives_without() -> None:
    def run(threads: CleanThreads) -> list[Frame]:
        line, out = CleanLine("call", BOTH, PCMU, threads), list[Frame]()
        for n in range(40):
            line.ticked(n)
            line.push(frame(n, 1600 + n * 160, noise(160, n)))
            out += line.take()
        return out + line.finish()

    threads = CleanThreads(2)
    assert run(threads) == run(CleanThreads(0))
    threads.stop()


class Hanging(Remembering):
    """A module that does not return until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.may_go = threading.Event(), threading.Event()

    def clean(self, samples: Int16) -> Int16:
        self.entered.set()
        self.may_go.wait(20)
        return super().clean(samples)


def test_a_thread_that_hangs_costs_neither_memory_nor_packets() -> None:
    threads, module = CleanThreads(1), Hanging()
    line, count = (
        CleanLine("call", CHOICES["noise"], PCMU, threads, lambda *_: module),
        MOST_WAITING + 20,
    )
    for n in range(count):
        line.push(frame(n, 1600 + n * 160, tone(160)))
        assert module.entered.wait(20)
        assert line.take() == []
    module.may_go.set()
    out = line.finish()
    threads.stop()
    assert [f.seq for f in out] == list(range(count))
    raw = [f.seq for f in out if not f.cleaned]
    assert raw == list(range(MOST_WAITING + 1, count)), "as they came, and the log says so"


def test_a_thread_that_hangs_for_good_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean_line, "HUNG_S", 0.05)
    threads, module = CleanThreads(1), Hanging()
    line = CleanLine("call", CHOICES["noise"], PCMU, threads, lambda *_: module)
    for n in range(1_000):
        line.push(frame(n, 1600 + n * 160, tone(160)))
        assert module.entered.wait(20)
    assert len(line._waiting) <= 2 * MOST_WAITING, "bounded"
    assert line.finish() == [], "and the call can end"
    module.may_go.set()
    threads.stop()


def test_a_module_that_fails_costs_no_sound() -> None:
    class Failing(Remembering):
        def clean(self, samples: Int16) -> Int16:
            if len(self.given) == 5:
                raise RuntimeError("no more")
            return super().clean(samples)

    line = CleanLine("call", BOTH, PCMU, INLINE, lambda *_: Failing())
    sent = [frame(n, 1600 + n * 120, tone(120)) for n in range(20)]
    for one in sent:
        line.push(one)
    out = line.take() + line.finish()
    assert [f.seq for f in out] == list(range(20))
    assert {f.cleaned for f in out[:2]} == {"noise+aec"}
    assert out[2:] == sent[2:], "as it came, and the log says so"


# A whole session ----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.sampled_from(["packet"] * 6 + ["lost", "pause", "late tick", "speak"]), max_size=120
    ),
    st.sampled_from(["auto", "noise", "echo", "noise+echo"]),
)
def test_the_log_has_the_same_chunks_marks_and_ends(happens: list[str], choice: str) -> None:
    def run(clean: CleanLine | None) -> list[Logged]:
        call = Call()
        call.session = Session("call", PCMU, Clock(0, 0), IDS, call, clean)
        call.session._echo.near = lambda n: False  # type: ignore[method-assign] # not looked at here
        call.session.attach(call.wire)
        for n, what in enumerate(happens):
            if what not in ("lost", "pause"):
                sound = noise(160, n, 3000)
                one = frame(n, 1600 + n * 160, sound, lost=int(happens[n - 1] == "lost"))
                call.session.heard((one,), n * TICK_US)
            if what == "pause":
                for extra in range(30):
                    call.session.tick(n, n * TICK_US + extra * 10_000)
            elif what != "late tick":
                call.session.tick(n, n * TICK_US)
        call.session.close(len(happens) * TICK_US)
        return [x for x in call.logged if x.leg.name == "customer"]

    plain, cleaned = run(None), run(CleanLine("call", cleaning_of(choice), PCMU, INLINE))
    assert shape(cleaned) == shape(plain)
    chunks = [c for c in cleaned if isinstance(c, Chunk)]
    assert {c.cleaned for c in chunks} <= {"" if choice == "auto" else cleaning_of(choice).mark}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["loud", "loud", "quiet", "lost", "pause", "two"]),
                  st.integers(1, 30)),
        max_size=12,
    ),
    st.integers(0, 60),
)  # fmt: skip
def test_by_auto_a_line_without_echo_is_logged_to_the_last_bit(
    happens: list[tuple[str, int]], before: int
) -> None:
    """Also over a prompt, whatever is held, lost, late or silent."""

    def run(clean: CleanLine | None) -> list[Logged]:
        call = Call()
        call.session = Session("call", PCMU, Clock(0, 0), IDS, call, clean)
        call.session._echo.near = lambda n: False  # type: ignore[method-assign] # not looked at here
        call.session.attach(call.wire)
        tick = seq = 0
        call.session.play(prompt(PROMPTS[0]))
        for what, count in [("quiet", before), *happens, ("quiet", 3)]:
            for k in range(count):
                lost = what == "lost" and k % 3 == 1
                if what != "pause" and not lost:
                    level = 20 if what == "quiet" else 3000
                    for _ in range(2 if what == "two" and k % 2 else 1):
                        one = frame(seq, 1600 + seq * 160, noise(160, seq, level))
                        call.session.heard((one,), tick * TICK_US)
                        seq += 1
                else:
                    seq += 1
                call.session.tick(tick, tick * TICK_US)
                tick += 1
        call.session.close(tick * TICK_US)
        return [x for x in call.logged if x.leg.name == "customer"]

    plain, cleaned = run(None), run(CleanLine("call", CHOICES["auto"], PCMU, INLINE))
    came, out = ([x for x in of if isinstance(x, Chunk)] for of in (plain, cleaned))
    assert b"".join(c.payload for c in out) == b"".join(c.payload for c in came)
    assert [(c.ts, c.lost) for c in out if c.lost] == [(c.ts, c.lost) for c in came if c.lost]
    assert not any(c.cleaned for c in out)


# The module itself --------------------------------------------------------------------------------


def through(choice: str, sound: Int16, codec: CodecName = "l16", rate_hz: int = 8000) -> Int16:
    leg, step = Leg("customer", 7, 0, 0, rate_hz), rate_hz // 50
    line, out = CleanLine("call", cleaning_of(choice), PCMU, INLINE), list[Frame]()
    for n in range(len(sound) // step):
        payload = encode(codec, sound[n * step :][:step])
        line.push(Frame(leg, n, n * step, payload, codec, 0))
        out += line.take()
    out += line.finish()
    assert {len(f.payload) for f in out} == {step * SAMPLE_BYTES[codec]}
    assert {f.cleaned for f in out} == {cleaning_of(choice).mark}
    return np.concatenate([decode(codec, f.payload) for f in out])


def rms(samples: Int16) -> float:
    return float(np.sqrt((samples.astype(float) ** 2).mean()))


@pytest.mark.parametrize("choice", ["noise", "echo", "noise+echo"])
@pytest.mark.parametrize(("codec", "rate_hz"), [("pcmu", 8000), ("l16", 8000), ("l16", 16000)])
def test_silence_stays_silence(choice: str, codec: CodecName, rate_hz: int) -> None:
    assert not through(choice, np.zeros(rate_hz, np.int16), codec, rate_hz).any()


def test_noise_sinks_and_speech_stays() -> None:
    words = np.concatenate([np.zeros(12000), speech(WORDS[0]), np.zeros(4000)])
    sound = np.clip(words + noise(len(words), 3, 330), -32768, 32767).astype(np.int16)
    out = through("noise", sound)
    assert 20 * np.log10(rms(out[8000:12000]) / rms(sound[8000:12000])) < -10
    assert abs(20 * np.log10(rms(out[12000:-4000]) / rms(sound[12000:-4000]))) < 2


@pytest.mark.parametrize(("choice", "late"), [("noise", 72), ("echo", 64), ("noise+echo", 136)])
def test_sound_is_late_by_less_than_a_packet(choice: str, late: int) -> None:
    """The module's own delay; the timestamps stay."""
    click = np.zeros(16000, np.int16)
    click[8000:8040] = 12000
    at = int(np.abs(through(choice, click).astype(int)).argmax())
    assert 8000 + late - 24 <= at < 8040 + late + 24


def test_a_successor_begins_with_a_fresh_module() -> None:
    """After a takeover in the middle of a prompt some frames of echo get through."""
    ours = speech(PROMPTS[1]).astype(np.int16)
    frames = [encode("pcmu", ours[n : n + 160]) for n in range(0, len(ours) - 159, 160)]
    back = np.concatenate([np.zeros(2000, np.int16), ours // 2]) + noise(len(ours) + 2000, 5, 15)
    line, loud = CleanLine("call", CHOICES["echo"], PCMU, INLINE), list[int]()
    for n, octets in enumerate(frames):
        if n < 40:  # the first edge's
            continue
        line.said(n, octets)
        line.ticked(n)
        line.push(frame(n, 1600 + n * 160, np.asarray(back[n * 160 :][:160], np.int16)))
        loud += [n for f in line.take() if level_db("pcmu", f.payload) > 36]
    assert len(loud) <= 10, "0.2 s in all"


def test_lost_packets_do_not_bring_the_echo_back(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = speech(PROMPTS[1]).astype(np.int16)
    frames = [encode("pcmu", sent[n : n + 160]) for n in range(0, len(sent) - 159, 160)]
    back = np.concatenate([np.zeros(2000, np.int16), sent // 2]) + noise(len(sent) + 2000, 5, 15)

    def loud_share() -> float:
        random = np.random.default_rng(3)
        line, levels, lost = CleanLine("call", CHOICES["echo"], PCMU, INLINE), list[float](), 0
        for n in range(len(frames)):
            if random.random() < 0.05:
                lost += 1
            else:
                sound = np.asarray(back[n * 160 :][:160], np.int16)
                line.push(frame(n, 1600 + n * 160, sound, lost=lost))
                lost = 0
            line.said(n, frames[n])
            line.ticked(n)
            levels += [level_db("pcmu", f.payload) for f in line.take()]
        return float(np.mean(np.array(levels[50:]) > 36))

    bridged = loud_share()
    monkeypatch.setattr(clean_line, "BRIDGE_MS", 0)
    assert bridged <= 0.02
    assert loud_share() >= 0.04


# What is known of the echo ------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 300)), max_size=30))
def test_played_sound_is_where_it_was_sent(pieces: list[tuple[int, int]]) -> None:
    played = Played(100)  # 4 s are 400 samples
    model = np.zeros(20_000, np.int16)
    at = 0
    for n, (gap, count) in enumerate(pieces):
        at += gap
        sound = np.arange(n, n + count).astype(np.int16)
        played.write(at, sound)
        model[at : at + count] = sound
        at += count
        assert played.end == at
    played.silence(at + 10)
    first = max(0, at + 10 - 400)
    assert np.array_equal(played.read(first, at + 30), model[first : at + 30])
    assert not played.read(-50, 0).any()


def watched(ours: Sound, theirs: Sound, rate_hz: int, our_hz: int) -> EchoWatch:
    """Both sides, 20 ms at a time, at their own rates."""
    played = Played(our_hz)
    watch = EchoWatch(played, rate_hz)
    for n in range(min(len(ours) * 50 // our_hz, len(theirs) * 50 // rate_hz)):
        step, our_step = rate_hz // 50, our_hz // 50
        played.write(n * our_step, ours[n * our_step :][:our_step].astype(np.int16))
        watch.heard(theirs[n * step :][:step].astype(np.int16), (n + 1) * our_step)
    return watch


@pytest.mark.parametrize(("rate_hz", "our_hz"), [(8000, 8000), (16000, 8000), (8000, 16000)])
@pytest.mark.parametrize("delay_ms", [0, 60, 300, 700, 1100])
def test_the_delay_is_measured(delay_ms: int, rate_hz: int, our_hz: int) -> None:
    ours = np.concatenate([speech(PROMPTS[0]), np.zeros(10_000)])
    theirs = 0.1 * np.concatenate([np.zeros(delay_ms * 8), ours])
    theirs += np.random.default_rng(1).normal(0, 15, len(theirs))
    found = watched(
        np.repeat(ours, our_hz // 8000), np.repeat(theirs, rate_hz // 8000), rate_hz, our_hz
    )
    assert found.delay_ms is not None and abs(found.delay_ms - delay_ms) <= 1


def test_a_customer_is_no_echo() -> None:
    theirs = np.concatenate([speech(w, "cmn-latn-pinyin+f3") for w in WORDS])
    ours = np.resize(speech(PROMPTS[1]), len(theirs))
    assert watched(ours, theirs, 8000, 8000).delay_ms is None


def test_an_echo_that_ends_is_forgotten() -> None:
    ours = np.resize(speech(PROMPTS[0]), 8000 * 14)
    words = np.resize(speech(WORDS[0], "cmn-latn-pinyin+f3"), 8000 * 14)
    theirs = np.where(np.arange(len(ours)) < 8000 * 4, 0.2 * np.roll(ours, 800), words)
    assert watched(ours[: 8000 * 4], theirs, 8000, 8000).delay_ms is not None
    assert watched(ours, theirs, 8000, 8000).delay_ms is None


def test_a_canceller_begins_without_a_click_and_only_where_there_is_an_echo() -> None:
    """Under a hum of 50 Hz, by a module that turns everything round: a click is 12,000 high."""
    ours = coded(speech(PROMPTS[0]))
    hum = 6000 * np.sin(np.arange(len(ours) * 160) * 2 * np.pi * 50 / 8000)
    back = 0.05 * np.concatenate([np.zeros(800), decode("pcmu", b"".join(ours))])[: len(hum)]

    def run(sound: Sound, modules: Modules) -> list[Frame]:
        line, out = CleanLine("call", CHOICES["auto"], PCMU, INLINE, modules), list[Frame]()
        for n, octets in enumerate(ours):
            one = np.asarray(sound[n * 160 :][:160], np.int16)
            line.push(Frame(LEG, n, LEG.start_ts + n * 160, encode("l16", one), "l16", 0))
            line.said(n, octets)
            line.ticked(n)
            out += line.take()
        return out + line.finish()

    modules = Modules()
    out = run(hum + back, modules)
    assert [f.seq for f in out] == list(range(len(ours)))
    assert len(modules.made) == 1 and out[-1].cleaned == "aec"
    (delay,) = modules.made[0][3].delays
    assert abs(delay - 100) <= 1
    steps = np.abs(np.diff(np.concatenate([decode("l16", f.payload) for f in out]).astype(int)))
    assert steps.max() < 2_000
    modules = Modules()
    assert not any(f.cleaned for f in run(hum, modules)) and not modules.made


def test_the_real_module_is_what_an_edge_makes() -> None:
    module = apm_of(BOTH, 8000, 16000)
    module.play(np.zeros(160, np.int16))
    module.set_delay(120)
    assert len(module.clean(np.zeros(80, np.int16))) == 80
