"""D2: our own voice that comes back is no speech; a customer who speaks over it is."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asr_worker.legs import _samples
from ingest.sound.clean_line import CleanLine, CleanThreads
from ingest.sound.cleaning import cleaning_of
from ingest.sound.echo import WINDOW, EchoGate
from ingest.sound.log import media_event
from ingest.sound.onset import level_db
from ingest.sound.pacer import TICK_US
from ingest.sound.playout import Ended, Prompt, Say
from ingest.sound.session import Clock, Session
from ingest.sound.types import PCMU, Chunk, Frame, Leg
from ringlog.audio.espeak import speak
from ringlog.audio.g711 import decode, encode
from tests.unit.ingest.test_edge_session import IDS, Call
from tests.unit.ingest.test_media_log import STAMP

Sound = NDArray[np.float64]
LEG = Leg("customer", 7, 0, 0, 8000)
FRAME = 160
PROMPTS = ["您好，我是金融公司的客服，请问您现在方便说话吗", "我们最近有一个新的贷款产品，利率很低"]
WORDS = ["价格太高了我不需要", "你们是哪里的公司啊我没听清楚", "喂你好你说"]


@cache
def speech(text: str, voice: str = "cmn-latn-pinyin", db: float = -20.0) -> Sound:
    """Synthetic speech at `db` dBFS, whole frames of it."""
    samples = speak(text, voice).astype(float)
    samples = samples[: len(samples) // FRAME * FRAME]
    return np.asarray(samples / np.sqrt((samples**2).mean()) * 32768 * 10 ** (db / 20))


def coded(sound: Sound) -> list[bytes]:
    octets = encode("pcmu", np.clip(sound, -32768, 32767).astype(np.int16))
    return [octets[n : n + FRAME] for n in range(0, len(octets) - FRAME + 1, FRAME)]


def prompt(text: str) -> Say:
    frames = tuple(coded(speech(text)))
    return Say(text, text, Prompt(frames, tuple(level_db("pcmu", f) for f in frames)), "speech")


class Line(Call):
    """A call whose far end sends our own sound back, and perhaps a customer's."""

    def __init__(self, delay_ms: int, gain_db: float, seed: int = 1, clean: str = "off") -> None:
        super().__init__()
        if clean != "off":
            line = CleanLine("call", cleaning_of(clean), PCMU, CleanThreads(0))
            self.session = Session("call", PCMU, Clock(0, 0), IDS, self, line)
            self.session.attach(self.wire)
        self.delay = delay_ms * 8
        self.gain = 10 ** (gain_db / 20)
        self.rng = np.random.default_rng(seed)
        self.paused = 0

    def live(self, ticks: int, customer: Sound | None = None) -> None:
        """Runs on; the customer's words begin now."""
        first = self.n
        for _ in range(ticks):
            at = self.n * FRAME - self.delay
            sound = self.rng.normal(0, 18, FRAME) + self.gain * self._ours(at)
            if customer is not None:
                part = customer[(self.n - first) * FRAME :][:FRAME]
                sound[: len(part)] += part
            (payload,) = coded(sound)
            frame = Frame(LEG, self.n, self.n * FRAME, payload, "pcmu", 0)
            self.session.heard((frame,), self.n * TICK_US)
            self.session.tick(self.n, self.n * TICK_US)
            self.n += 1
            self.paused += self.session.playout.paused

    def _ours(self, at: int) -> Sound:
        """A frame's length of what we sent, from sample `at` of the call."""
        out = np.zeros(FRAME)
        for _, ts, payload in self.wire.frames[-60:]:
            begin = ts - 8000 - at
            if -FRAME < begin < FRAME and payload != b"\xff" * FRAME:
                samples = decode("pcmu", payload).astype(float)
                lo, hi = max(begin, 0), min(begin + FRAME, FRAME)
                out[lo:hi] = samples[lo - begin : hi - begin]
        return out

    def unmarked_ms(self, first_ms: int, last_ms: int) -> int:
        """Loud sound between two moments that a recogniser hears."""
        heard = 0
        for c in self.chunks("customer"):
            for n in range(0, len(c.payload), FRAME):
                at_ms = c.ts // 8 + n // 8
                loud = level_db("pcmu", c.payload[n : n + FRAME]) > 36
                heard += 20 * (loud and not c.echo and first_ms <= at_ms < last_ms)
        return heard


@pytest.mark.parametrize("gain_db", [-6, -12, -18, -24])
@pytest.mark.parametrize("delay_ms", [120, 250, 450])
def test_D2_our_own_voice_is_no_speech_and_stops_nothing(delay_ms: int, gain_db: float) -> None:
    line = Line(delay_ms, gain_db)
    line.live(25)
    for text in PROMPTS:
        line.session.play(prompt(text))
        line.live(len(prompt(text).prompt.frames) + 100)
    line.session.close(line.n * TICK_US)
    ends = [e for e in line.events if isinstance(e, Ended)]
    assert line.paused == 0 and [e.complete for e in ends] == [True, True]
    assert line.unmarked_ms(0, 10**9) <= 60, "nothing that makes a turn"
    if gain_db > -24:
        assert any(c.echo for c in line.chunks("customer"))
    recorded = b"".join(c.payload for c in line.chunks("customer"))
    assert len(recorded) == line.n * FRAME, "the recording has all that was heard"


@pytest.mark.parametrize(("delay_ms", "gain_db", "words"), [
    (delay_ms, gain_db, WORDS[(n + m) % 3])
    for n, delay_ms in enumerate((120, 250, 450)) for m, gain_db in enumerate((-6, -12, -18, -24))
])  # fmt: skip
def test_D2_a_customer_over_the_echo_is_heard(delay_ms: int, gain_db: float, words: str) -> None:
    """A barge-in at -20 dBFS pauses the prompt at once, and its words reach the recogniser."""
    line = Line(delay_ms, gain_db)
    line.session.play(prompt(PROMPTS[0]))
    line.live(len(prompt(PROMPTS[0]).prompt.frames) + 60)
    line.session.play(prompt(PROMPTS[1]))
    line.live(60)
    assert line.paused == 0
    begun_ms, customer = line.n * 20, speech(words, "cmn-latn-pinyin+f3")
    line.live(len(customer) // FRAME, customer)
    ended_ms = line.n * 20
    assert line.paused > 0
    line.live(80)
    line.session.close(line.n * TICK_US)
    frames = [level_db("pcmu", f) for f in coded(customer)]
    loud_ms = 20 * sum(level > 42 for level in frames)
    assert line.unmarked_ms(begun_ms - 40, ended_ms) >= 0.8 * loud_ms


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("after_ms", [200, 700, 1500])
def test_D2_a_clean_line_hears_a_customer_as_before(words: str, after_ms: int) -> None:
    line = Line(0, -200, clean="auto")
    line.session.play(prompt(PROMPTS[0]))
    line.live(after_ms // 20)
    customer = speech(words, "cmn-latn-pinyin+f3")
    line.live(len(customer) // FRAME + 50, customer)
    line.session.close(line.n * TICK_US)
    assert line.paused > 0 and not any(c.echo for c in line.chunks("customer"))
    assert not any(c.cleaned for c in line.chunks("customer"))


class Jittery(Line):
    """A far end without a jitter buffer: what of ours comes too late to be played is missing."""

    def __init__(self, delay_ms: int, gain_db: float, lost: float, clean: str) -> None:
        super().__init__(delay_ms, gain_db, clean=clean)
        self.lost = lost
        self.late: dict[int, bool] = {}

    def _ours(self, at: int) -> Sound:
        kept, frames = self.wire.frames, self.wire.frames[-60:]
        for _, ts, _ in frames:
            self.late.setdefault(ts, bool(self.rng.random() < self.lost))
        self.wire.frames = [frame for frame in frames if not self.late[frame[1]]]
        try:
            return super()._ours(at)
        finally:
            self.wire.frames = kept


@pytest.mark.parametrize(("delay_ms", "gain_db"), [(120, -6), (250, -12), (450, -18)])
def test_D2_on_a_jittering_path_the_canceller_holds_where_the_rule_does_not(
    delay_ms: int, gain_db: float
) -> None:
    """5 % of our packets come too late at the far end: the echo has holes."""

    def live(clean: str) -> tuple[int, int]:
        line = Jittery(delay_ms, gain_db, 0.05, clean)
        line.live(25)
        for text in PROMPTS:
            line.session.play(prompt(text))
            line.live(len(prompt(text).prompt.frames) + 100)
        line.session.close(line.n * TICK_US)
        return line.paused, line.unmarked_ms(0, 10**9)

    paused, unmarked_ms = live("auto")
    assert paused == 0 and unmarked_ms <= 60, "as strict as on a path without jitter"
    assert live("off")[1] > 400, "the greeting, as words of the customer"


def over_the_echo(line: Line, words: str, db: float) -> float:
    """A customer speaks over the second prompt; the share of loud sound that a recogniser hears."""
    line.session.play(prompt(PROMPTS[0]))
    line.live(len(prompt(PROMPTS[0]).prompt.frames) + 60)
    line.session.play(prompt(PROMPTS[1]))
    line.live(40)
    assert line.paused == 0
    begun_ms, customer = line.n * 20, speech(words, "cmn-latn-pinyin+f3", db)
    line.live(len(customer) // FRAME, customer)
    ended_ms = line.n * 20
    line.session.close(line.n * TICK_US)
    loud_ms = 20 * sum(level_db("pcmu", f) > 36 for f in coded(customer))
    return line.unmarked_ms(begun_ms - 40, ended_ms) / loud_ms


@pytest.mark.parametrize("clean", ["auto", "noise+echo"])
@pytest.mark.parametrize("gain_db", [-6, -18])
@pytest.mark.parametrize("delay_ms", [120, 250, 450, 700])
def test_D2_a_cancelled_echo_is_gone_from_the_log(
    delay_ms: int, gain_db: float, clean: str
) -> None:
    """Also one beyond the canceller's own reach, once its delay is measured."""
    line = Line(delay_ms, gain_db, clean=clean)
    line.live(25)
    line.session.play(prompt(PROMPTS[0]))
    line.live(len(prompt(PROMPTS[0]).prompt.frames) + 100)
    first_ms = line.n * 20
    line.session.play(prompt(PROMPTS[1]))
    line.live(len(prompt(PROMPTS[1]).prompt.frames) + 100)
    line.session.close(line.n * TICK_US)
    known_ms = first_ms if delay_ms > 500 else 0
    assert line.unmarked_ms(known_ms, 10**9) <= 60, "nothing that makes a turn"
    assert delay_ms > 500 or line.paused == 0
    assert not any(c.echo for c in line.chunks("customer")), "and needs no mark"
    assert len(b"".join(c.payload for c in line.chunks("customer"))) == line.n * FRAME


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("delay_ms", [120, 250, 450])
def test_D2_a_quiet_customer_under_a_loud_echo_is_heard(delay_ms: int, words: str) -> None:
    """The echo is at -26 dBFS. At its level most is heard, 10 dB below it at least a third, where
    the level rule alone heard nothing of some; at its level the prompt stops, too."""
    line = Line(delay_ms, -6, clean="auto")
    assert over_the_echo(line, words, -26.0) >= 0.6
    assert line.paused > 0
    line = Line(delay_ms, -6, clean="auto")
    assert over_the_echo(line, words, -36.0) >= 0.33


def test_D2_without_cancellation_a_quiet_customer_under_a_loud_echo_is_lost() -> None:
    assert over_the_echo(Line(250, -6), WORDS[0], -36.0) < 0.1


def test_D2_an_echo_that_is_gone_is_forgotten() -> None:
    line = Line(250, -12)
    line.session.play(prompt(PROMPTS[0]))
    line.live(150)
    assert line.session._echo.echo is not None
    line.gain = 0.0
    line.session.play(prompt(PROMPTS[1]))
    line.live(150)
    assert line.session._echo.echo is None


def test_D2_the_mark_is_on_the_log_and_the_recogniser_takes_it_for_silence() -> None:
    payload = coded(speech(WORDS[0]))[20]
    marked = media_event(STAMP, Chunk(LEG, 1, 160, payload, "pcmu", 0, True), 99)
    plain = media_event(STAMP, Chunk(LEG, 1, 160, payload, "pcmu", 0), 99)
    assert (marked.processing, plain.processing) == ("echo", "none")
    assert marked.payload == plain.payload, "the recording keeps it"
    assert not _samples(marked).any() and _samples(plain).any()
    assert len(_samples(marked)) == FRAME


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90), st.booleans()), max_size=300))
def test_D2_every_frame_comes_out_once_in_order_and_soon(
    levels: list[tuple[int, int, bool]],
) -> None:
    gate, out = EchoGate(), list[Frame]()
    for n, (theirs, ours, playing) in enumerate(levels):
        if playing:
            gate.played(n, float(ours))
        frame = Frame(LEG, n, n * FRAME, bytes(FRAME), "pcmu", 0)
        if gate.near(n):
            out += [f for f, _ in gate.push(frame, float(theirs))]
        else:
            out += [f for f, _ in gate.flush()]
            out.append(frame)
        assert n + 1 - len(out) <= WINDOW + 1
    out += [f for f, _ in gate.flush()]
    assert [f.seq for f in out] == list(range(len(levels)))
