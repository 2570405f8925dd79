"""What customers say: lines of the demo's people, and recordings of people where they are.

Everything is float64 at 8 kHz, speech at `SPEECH_DBFS`, the same samples on every run.
"""

from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.measure import Skipped
from demo.people import load
from ringlog.audio import SAMPLE_RATE_HZ, espeak
from ringlog.audio.wav import read
from ringlog.settings import root

Sound = NDArray[np.float64]

SPEECH_DBFS: Final = -22.0
SPEECH: Final = root().parent / "shared" / "speech"

TALKERS: Final = ("+f3", "+m4", "+f5", "+m8")
"""Voices of the demo recogniser's customers."""

CROWD: Final = ("+m1", "+f1", "+m2", "+f2", "+m3", "+f4", "+m5", "+m7")
"""Voices of the babble: none of a customer's."""

PROMPTS: Final = (
    "您好，我是金融公司的客服，请问您现在方便说话吗",
    "我们最近有一个新的贷款产品，利率很低，手续也很简单",
)
"""What the robot says, in a voice of its own."""

_AUDIBLE: Final = 0.02


class Said(NamedTuple):
    """An utterance and its text."""

    text: str
    sound: Sound


def level(sound: Sound) -> float:
    """Root mean square of the louder half, as speech has pauses."""
    loud = np.sort(np.abs(sound))[len(sound) // 2 :]
    return float(np.sqrt((loud**2).mean()))


def at_dbfs(sound: Sound, dbfs: float = SPEECH_DBFS) -> Sound:
    """Speech at a level."""
    return np.asarray(sound * (32768 * 10 ** (dbfs / 20) / max(level(sound), 1e-9)))


def trimmed(sound: Sound) -> Sound:
    """Without silence at its ends."""
    loud = np.flatnonzero(np.abs(sound) > _AUDIBLE * np.abs(sound).max())
    return sound[loud[0] : loud[-1] + 1]


@cache
def spoken(text: str, voice: str, speed: int = 190) -> Sound:
    """A line by espeak-ng."""
    sound = espeak.speak(text, f"{espeak.DEFAULT_VOICE}{voice}", speed, fix_readings=True)
    return at_dbfs(trimmed(sound.astype(np.float64)))


@cache
def lines() -> tuple[str, ...]:
    """Everything that the demo's people say."""
    return tuple(sorted({x.say for p in load() for group in p.on.values() for x in group}))


def demo_people(count: int) -> list[Said]:
    """`count` utterances in the demo recogniser's vocabulary."""
    random = np.random.default_rng(11)
    chosen = random.permutation(len(lines()))
    texts = [lines()[chosen[n % len(chosen)]] for n in range(count)]
    return [Said(text, spoken(text, TALKERS[n % len(TALKERS)])) for n, text in enumerate(texts)]


def recordings(folder: Path = SPEECH) -> list[Said]:
    """Recordings of people in Mandarin; raises Skipped where they are not."""
    table = folder / "wavs" / "transcripts.tsv"
    if not table.is_file():
        raise Skipped("the recordings of people are not beside the project (shared/speech)")
    out: list[Said] = []
    for row in table.read_text(encoding="utf-8").splitlines()[1:]:
        name, text, language, _ = row.split("\t")
        if language == "zh":
            samples, _ = read(folder / "wavs" / name, SAMPLE_RATE_HZ)
            out.append(Said(text, at_dbfs(trimmed(samples.astype(np.float64)))))
    return out
