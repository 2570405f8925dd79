"""Telephone audio for benchmarks: people of the demo talking, with pauses, over noise."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from demo.people import load
from ringlog.audio import SAMPLE_RATE_HZ, espeak
from ringlog.audio.g711 import Int16, decode, encode
from schemas import ids
from schemas.events import MediaChunk

VOICES = ("+f3", "+m4", "+f5", "+m8", "")
SPEECH_RMS = 3277  # -20 dBFS
CHUNK = 800
_AUDIBLE = 300


@lru_cache(maxsize=1)
def lines() -> tuple[str, ...]:
    """Everything that the demo's people say."""
    return tuple(sorted({x.say for p in load() for group in p.on.values() for x in group}))


@lru_cache(maxsize=512)
def utterance(text: str, voice: str, speed: int) -> Int16:
    """One line, trimmed, at a given level."""
    sound = espeak.speak(text, f"{espeak.DEFAULT_VOICE}{voice}", speed, 50, fix_readings=True)
    loud = np.flatnonzero(np.abs(sound.astype(np.int32)) > _AUDIBLE)
    sound = sound[loud[0] : loud[-1] + 1]
    level = float(np.sqrt(np.mean(sound.astype(np.float64) ** 2)))
    return np.clip(sound * (SPEECH_RMS / level), -32768, 32767).astype(np.int16)


@dataclass(frozen=True)
class Manner:
    """How people talk: lines an utterance, pauses within one, and pauses between, ms."""

    lines: tuple[int, int]
    within_ms: tuple[int, int]
    between_ms: tuple[int, int]


SENTENCES = Manner((2, 4), (150, 400), (1_500, 2_600))
"""Two or three phrases at a time: the material that the budget was set on."""

SHORT_ANSWERS = Manner((1, 2), (0, 1), (500, 1_500))
"""A word or two, in quick succession: as many turns as there can be."""


def leg(seed: int, seconds: float, snr_db: float, manner: Manner) -> tuple[bytes, float]:
    """(mu-law octets, share of speech in it) of one person's side of a call at 8 kHz."""
    random = np.random.default_rng(seed)
    voice = VOICES[seed % len(VOICES)]
    total = int(seconds * SAMPLE_RATE_HZ)
    sound = random.standard_normal(total) * SPEECH_RMS * 10 ** (-snr_db / 20)
    at, spoken = 0, 0
    while at < total:
        at += _pause(random, manner.between_ms)
        for n in range(int(random.integers(*manner.lines))):
            at += _pause(random, manner.within_ms) if n else 0
            text, speed = str(random.choice(lines())), int(random.choice((170, 200, 230)))
            said = utterance(text, voice, speed)[: max(0, total - at)]
            sound[at : at + len(said)] += said
            at, spoken = at + len(said), spoken + len(said)
    return encode("pcmu", np.clip(sound, -32768, 32767).astype(np.int16)), spoken / total


def _pause(random: np.random.Generator, bounds_ms: tuple[int, int]) -> int:
    return int(random.integers(*bounds_ms)) * SAMPLE_RATE_HZ // 1000


def samples(octets: bytes) -> Int16:
    """What is heard of them."""
    return decode("pcmu", octets)


def chunks(n: int, octets: bytes, silence_ms: int = 500) -> list[MediaChunk]:
    """A leg's records of `media.audio`, 100 ms each, without its end."""
    call = ids.root_id("bench-call", n)
    return [
        MediaChunk(
            event_id=ids.media_chunk_id(call, "customer", at),
            kind="chunk",
            occurred_at=1_760_000_000_000 + at // 8,
            producer="edge",
            call_id=call,
            customer_id=f"customer-{n}",
            leg="customer",
            asr_profile="demo",
            turn_silence_ms=silence_ms,
            ssrc=n + 1,
            first_seq=at // 160,
            rtp_ts=at,
            leg_start_ts=0,
            leg_start_ms=0,
            codec="pcmu",
            rate_hz=SAMPLE_RATE_HZ,
            payload=octets[at : at + CHUNK],
        )
        for at in range(0, len(octets), CHUNK)
    ]
