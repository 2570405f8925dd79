"""Calls through the edge's own session: the far end speaks, over noise or over our echo.

The session's ticks and packets are driven one by one, without a clock: the same records on every
run. Cleaning runs within the call, not on a thread, for the same reason.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.sound.material import PROMPTS, Said, Sound, at_dbfs, spoken
from ingest.call.types import Identity
from ingest.sound.chunker import Logged
from ingest.sound.clean_line import CleanLine, CleanThreads
from ingest.sound.cleaning import cleaning_of
from ingest.sound.log import Stamp, media_event
from ingest.sound.onset import level_db
from ingest.sound.pacer import TICK_US
from ingest.sound.playout import KeyTick, PlayoutEvent, Prompt, Say
from ingest.sound.session import Clock, Session
from ingest.sound.silence import RTP_SILENCE
from ingest.sound.types import FRAME_MS, PCMU, Digit, Frame, Leg, stream_ids
from ringlog.audio.g711 import Int16, decode, encode
from schemas.events import MediaChunk

FRAME: Final = PCMU.frame_samples
LINE_NOISE_RMS: Final = 15.0
PROMPT_DBFS: Final = -20.0
BEGAN_MS: Final = 1_760_000_000_000


@dataclass(frozen=True)
class EchoPath:
    """How our voice comes back: late by the line, quieter, blurred by what it comes back from."""

    delay_ms: int
    gain_db: float
    seed: int = 1

    def of(self, ours: Sound) -> Sound:
        """The echo of a whole call's sound."""
        random = np.random.default_rng(self.seed)
        taps = random.standard_normal(160) * np.exp(-np.arange(160) / 30.0)  # 20 ms of a room
        taps[0] = 3.0
        taps *= 10 ** (self.gain_db / 20) / np.sqrt((taps**2).sum())
        late = np.concatenate((np.zeros(self.delay_ms * 8), np.convolve(ours, taps)))
        return late[: len(ours)]


class _Wire:
    """The transport: collects what the session sends."""

    silence = RTP_SILENCE
    alive_us: int | None = None
    holding = False
    ready = True

    def __init__(self, first_ts: int, samples: int) -> None:
        self.sent = np.zeros(samples)
        self._first_ts = first_ts

    def send_frame(self, frame: bytes, seq: int, ts: int, talkspurt: bool) -> bool:
        at = ts - self._first_ts
        if at + FRAME <= len(self.sent):
            self.sent[at : at + FRAME] = decode(PCMU.codec, frame)
        return True

    def send_key(self, key: KeyTick, seq: int, ts: int) -> int:
        return 1

    def clear(self) -> None: ...

    def mark(self, name: str) -> None: ...

    def poll(self, now_us: int) -> Iterable[Frame | Digit]:
        return ()

    def flush(self) -> Iterable[Frame | Digit]:
        return ()

    def close(self) -> None: ...


class BenchCall:
    """One call: packets in, records of `media.audio` out."""

    def __init__(self, call_id: str, clean: str, samples: int, profile: str) -> None:
        ids = stream_ids(b"bench", call_id, "robot")
        self.wire = _Wire(ids.first_ts, samples)
        self.leg = Leg("customer", 7, 0, 0, PCMU.rate_hz)
        self.records: list[MediaChunk] = []
        self._n = 0
        self._stamp = Stamp(
            Identity(call_id, "bench", "outbound", customer_id=call_id, asr_profile=profile), 500
        )
        cleaning = cleaning_of(clean)
        line = CleanLine(call_id, cleaning, PCMU, CleanThreads(0)) if cleaning.any else None
        self.session = Session(call_id, PCMU, Clock(0, 0), ids, self, line)
        self.session.attach(self.wire)

    def step(self, n: int, sound: Sound) -> None:
        """Frame `n` of the call comes in, then its tick goes out."""
        payload = encode(PCMU.codec, np.clip(sound, -32768, 32767).astype(np.int16))
        self.session.heard((Frame(self.leg, n, n * FRAME, payload, "pcmu", 0),), n * TICK_US)
        self.session.tick(n, n * TICK_US)
        self._n = n

    def on_logged(self, session: Session, logged: list[Logged]) -> None:
        """To the records, where it is the customer's."""
        at_ms = BEGAN_MS + self._n * FRAME_MS
        self.records += [media_event(self._stamp, x, at_ms) for x in logged if x.leg is self.leg]

    def on_playout(self, session: Session, events: Iterable[PlayoutEvent]) -> None:
        """Nothing depends on it."""

    def on_digit(self, session: Session, digit: Digit) -> None:
        """Nobody presses keys."""

    def on_hang_up(self, session: Session, reason: str) -> None:
        """Nobody hangs up."""

    def on_new_leg(self, session: Session, leg: Leg, first_seq: int) -> None:
        """Nothing depends on it."""


def in_noise(
    call_id: str, said: list[Said], noise: Sound | None, snr_db: float, clean: str, profile: str
) -> list[MediaChunk]:
    """A leg of utterances with pauses of 1.5 s; `noise` has RMS 1 and covers it, None for none."""
    sound = turns(said)
    sound += np.random.default_rng(5).normal(0, LINE_NOISE_RMS, len(sound))
    if noise is not None:
        speech_rms = 32768 * 10 ** (-22.0 / 20)
        sound += noise[: len(sound)] * speech_rms * 10 ** (-snr_db / 20)
    talk = BenchCall(call_id, clean, len(sound), profile)
    for n in range(len(sound) // FRAME):
        talk.step(n, sound[n * FRAME : (n + 1) * FRAME])
    talk.session.close(len(sound) // FRAME * TICK_US)
    return talk.records


def records_of(sound: Int16, call_id: str, profile: str) -> list[MediaChunk]:
    """A call whose far end sends `sound` at 8 kHz, as it is logged."""
    talk = BenchCall(call_id, "off", len(sound), profile)
    for n in range(len(sound) // FRAME):
        talk.step(n, sound[n * FRAME : (n + 1) * FRAME].astype(np.float64))
    talk.session.close(len(sound) // FRAME * TICK_US)
    return talk.records


def turns(said: list[Said], lead_s: float = 2.0, pause_s: float = 1.5) -> Sound:
    """Utterances one after another, whole frames."""
    parts = [np.zeros(int(lead_s * 8000))]
    for one in said:
        parts += [one.sound, np.zeros(int(pause_s * 8000))]
    sound = np.concatenate(parts)
    return np.pad(sound, (0, -len(sound) % FRAME))


def prompt(text: str) -> Say:
    """A prompt of the robot, which speech does not stop."""
    sound = at_dbfs(spoken(text, ""), PROMPT_DBFS)
    sound = np.pad(sound, (0, -len(sound) % FRAME))
    octets = encode(PCMU.codec, np.clip(sound, -32768, 32767).astype(np.int16))
    frames = tuple(octets[n : n + FRAME] for n in range(0, len(octets), FRAME))
    levels = tuple(level_db(PCMU.codec, frame) for frame in frames)
    return Say(text, text, Prompt(frames, levels), "never")


def over_echo(
    call_id: str, said: Said, path: EchoPath | None, over: bool, clean: str, profile: str
) -> list[MediaChunk]:
    """A call: two prompts, and the customer answers 0.6 s after the second, or speaks over it."""
    first, second = prompt(PROMPTS[0]), prompt(PROMPTS[1])
    begin = 25
    second_at = begin + len(first.prompt.frames) + 75
    speaks_at = second_at + (50 if over else len(second.prompt.frames) + 30)
    ends = max(speaks_at + len(said.sound) // FRAME, second_at + len(second.prompt.frames)) + 100
    customer = np.zeros(ends * FRAME)
    at = speaks_at * FRAME
    customer[at : at + len(said.sound)] = said.sound
    customer += np.random.default_rng(6).normal(0, LINE_NOISE_RMS, len(customer))
    talk = BenchCall(call_id, clean, ends * FRAME, profile)
    # Nothing stops a prompt, so all that we shall send is known.
    ours = np.zeros(ends * FRAME)
    for say, tick in ((first, begin), (second, second_at)):
        octets = b"".join(say.prompt.frames)
        ours[tick * FRAME :][: len(octets)] = decode(PCMU.codec, octets)
    sound = customer + (0.0 if path is None else path.of(ours))
    for n in range(ends):
        if n in (begin, second_at):
            talk.session.play(first if n == begin else second)
        talk.step(n, sound[n * FRAME : (n + 1) * FRAME])
    talk.session.close(ends * TICK_US)
    if not np.array_equal(talk.wire.sent, ours):
        raise RuntimeError("the session sent something else than the echo was made of")
    return talk.records
