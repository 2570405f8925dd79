"""Spoken calls for the worker's tests: synthetic timelines, their chunks, and a log in memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from asr_worker.core import Core, Output
from asr_worker.detector import shared
from asr_worker.legs import CustomerLegKey, LastFinal
from asr_worker.recogniser import Recognisers
from asr_worker.resume import Resume, parse
from ringlog.asr_models import load
from ringlog.audio import espeak
from ringlog.audio.g711 import Int16, encode
from schemas import ids
from schemas.events import MediaChunk, Transcript

SENTENCES = (
    "你好", "我现在很忙", "价格太高了", "好的谢谢", "我不需要", "你是谁", "现在不方便",
    "我要考虑一下", "太贵了便宜一点", "明天再打吧", "不要再打了", "我没有钱还",
)  # fmt: skip
"""Lines of the demo's customers, all within the demo model's vocabulary."""

VOICES = ("+f3", "+m4", "+f5", "+klatt3", "+m8", "")


@dataclass(frozen=True)
class Spoken:
    """One utterance on a timeline, samples."""

    start: int
    end: int
    text: str


@lru_cache(maxsize=256)
def utterance(text: str, voice: str, speed: int = 200, pitch: int = 50) -> Int16:
    """Trimmed speech at about -20 dBFS."""
    sound = espeak.speak(text, f"cmn-latn-pinyin{voice}", speed, pitch, fix_readings=True)
    loud = np.flatnonzero(np.abs(sound.astype(int)) > 300)
    sound = sound[loud[0] : loud[-1] + 1]
    rms = float(np.sqrt(np.mean(sound.astype(float) ** 2)))
    return np.clip(sound * (3277 / rms), -32768, 32767).astype(np.int16)


def timeline(
    texts: Sequence[str],
    voice: str = "+f3",
    *,
    seed: int = 1,
    snr_db: float | None = 20.0,
    pause_ms: tuple[int, int] = (1200, 2600),
) -> tuple[Int16, list[Spoken]]:
    """Utterances with pauses between, over noise, as a mu-law line passes them on."""
    random = np.random.default_rng(seed)
    parts: list[Int16] = []
    spoken: list[Spoken] = []
    at = 0
    for text in texts:
        pause = np.zeros(int(random.integers(*pause_ms)) * 8, np.int16)
        sound = utterance(text, voice, int(random.integers(170, 260)))
        spoken.append(Spoken(at + len(pause), at + len(pause) + len(sound), text))
        parts += [pause, sound]
        at += len(pause) + len(sound)
    parts.append(np.zeros(12_000, np.int16))
    clean = np.concatenate(parts).astype(np.float64)
    if snr_db is not None:
        clean += random.standard_normal(len(clean)) * 3277 * 10 ** (-snr_db / 20)
    return np.clip(clean, -32768, 32767).astype(np.int16), spoken


def call_id(name: str) -> str:
    """A call id for a test's own name of a call."""
    return ids.root_id("test-call", name)


def chunks(
    name: str,
    samples: Int16,
    *,
    size: int = 800,
    silence_ms: int = 500,
    profile: str = "demo",
    codec: str = "pcmu",
    ssrc: int = 7,
    leg: str = "customer",
    leg_start_ts: int = 16_000,
    end: bool = True,
    drop: Iterable[int] = (),
    rate_hz: int = 8000,
) -> list[MediaChunk]:
    """A leg's sound as chunks of `size` samples; those numbered in `drop` are lost."""
    per_ms = rate_hz // 1000
    call = call_id(name)
    common = {
        "producer": "edge", "call_id": call, "leg": leg, "asr_profile": profile,
        "turn_silence_ms": silence_ms, "ssrc": ssrc, "leg_start_ts": leg_start_ts,
        "leg_start_ms": 1_000, "codec": codec, "rate_hz": rate_hz,
        "customer_id": f"customer-{name}",
    }  # fmt: skip
    lost = set(drop)
    made = []
    for number, at in enumerate(range(0, len(samples), size)):
        if number in lost:
            continue
        ts = leg_start_ts + at
        made.append(
            MediaChunk.model_validate(
                common
                | {
                    "event_id": ids.media_chunk_id(call, leg, ts),
                    "kind": "chunk",
                    "occurred_at": 1_700_000_000_000 + at // per_ms,
                    "first_seq": at // 160,
                    "rtp_ts": ts,
                    "payload": encode(codec, samples[at : at + size]),
                }
            )
        )
    if end:
        ts = leg_start_ts + len(samples)
        made.append(
            MediaChunk.model_validate(
                common
                | {
                    "event_id": ids.media_chunk_id(call, leg, ts),
                    "kind": "end",
                    "occurred_at": 1_700_000_000_000 + len(samples) // per_ms,
                    "first_seq": len(samples) // 160,
                    "rtp_ts": ts,
                    "payload": b"",
                }
            )
        )
    return made


@dataclass(frozen=True)
class Record:
    """A record as it lies on the log."""

    offset: int
    timestamp_ms: int
    chunk: MediaChunk


def interleave(legs: Sequence[tuple[int, list[MediaChunk]]]) -> list[Record]:
    """One partition's log: each leg begins at its 100 ms tick and goes on in real time."""
    queue = []
    for number, (begin, leg) in enumerate(legs):
        for chunk in leg:
            samples = len(chunk.payload) // (2 if chunk.codec == "l16" else 1)
            end = chunk.rtp_ts - chunk.leg_start_ts + samples
            at_ms = begin * 100 + end * 1000 // chunk.rate_hz
            queue.append((at_ms, number, chunk))
    queue.sort(key=lambda item: item[:2])
    return [Record(i, 1_000_000 + at_ms, c) for i, (at_ms, _, c) in enumerate(queue)]


@lru_cache(maxsize=1)
def recognisers() -> Recognisers:
    """The shipped models, loaded once for all tests."""
    return Recognisers(load())


def new_core() -> Core:
    """A worker's core on the shipped models."""
    return Core(recognisers(), shared())


@dataclass
class MemoryLog:
    """`asr.transcripts` of one partition, and the group's committed offset."""

    transcripts: list[tuple[int, Transcript]] = field(default_factory=list)
    committed: int = 0
    resume: str = Resume(0).text()

    def closed_since(self, timestamp_ms: int) -> dict[CustomerLegKey, LastFinal]:
        """The last final of each leg among those appended since a time."""
        marks: dict[CustomerLegKey, LastFinal] = {}
        for at_ms, t in self.transcripts:
            if t.kind == "final" and at_ms >= timestamp_ms:
                key = (t.call_id or "", t.leg, t.ssrc)
                here = LastFinal(t.mark, t.end_ms)
                marks[key] = max(marks.get(key, here), here)
        return marks

    def first_by_id(self) -> dict[str, Transcript]:
        """What readers count: the first record of each id, without what timing decides."""
        first: dict[str, Transcript] = {}
        for _, t in self.transcripts:
            first.setdefault(t.event_id, t.model_copy(update={"decode_ms": 0.0}))
        return first

    def finals(self) -> list[Transcript]:
        """Finals that readers count."""
        return [t for t in self.first_by_id().values() if t.kind == "final"]


def zero_clock() -> float:
    """A clock that stands still."""
    return 0.0


def drain(core: Core) -> Iterator[Output]:
    """All outputs of what the core has taken in."""
    while core.busy:
        yield from core.step(zero_clock)


def work(
    records: Sequence[Record],
    log: MemoryLog,
    *,
    batch: int = 50,
    die_after: int | None = None,
    die_before_publishing: bool = False,
) -> bool:
    """Run a worker from the committed offset, by the host's rules, until the log's end.

    With `die_after` it dies in the batch that reads that many records: after publishing and before
    committing, or before publishing. Returns whether it reached the end.
    """
    core = new_core()
    todo = [r for r in records if r.offset >= log.committed]
    closed = log.closed_since(todo[0].timestamp_ms) if todo else {}
    core.assign(0, closed, parse(log.resume))
    read = 0
    for i in range(0, len(todo), batch):
        part = todo[i : i + batch]
        for record in part:
            core.accept(0, record.offset, record.timestamp_ms, record.chunk)
        read += len(part)
        dying = die_after is not None and read >= die_after
        if dying and die_before_publishing:
            return False
        for output in drain(core):
            log.transcripts.append((part[-1].timestamp_ms, output.transcript))
        if dying:
            return False
        log.committed, log.resume = core.commit_offsets()[0], core.resume(0).text()
    return True
