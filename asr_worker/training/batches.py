"""Training examples: utterances joined, stretched, sent over a line, and sorted into batches."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr_worker.training.layout import FRAMES_EXTRA, MEL_USED
from asr_worker.training.speech import SpeechSet
from asr_worker.training.telephone import Float32, Random, features, line, noise
from ringlog.audio import SAMPLE_RATE_HZ

POOL = 360
"""Examples that are sorted by length together, so that batches hold little padding."""

REUSE = 3
"""Uses of an example on average, each with other masks, as making one is costly."""

KEPT = 6_000
SILENT_FEATURE = -12.0
TONES_HZ = (400, 425, 440, 450, 480)


@dataclass(frozen=True)
class Example:
    """Features [frames, 60] and token ids."""

    features: Float32
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Batch:
    """Padded features [n, frames, 60], their lengths, all tokens in a row, and their counts."""

    features: Float32
    lengths: list[int]
    tokens: list[int]
    counts: list[int]


def _stretched(random: Random, sound: Float32) -> Float32:
    """Played faster or slower: changes tempo, pitch and formants together."""
    factor = random.uniform(0.88, 1.14)
    at = np.arange(0, len(sound) - 1, factor)
    return np.asarray(np.interp(at, np.arange(len(sound)), sound), np.float32)


def _silence(random: Random, low_s: float, high_s: float) -> Float32:
    return np.zeros(int(random.uniform(low_s, high_s) * SAMPLE_RATE_HZ), np.float32)


def _nothing_said(random: Random) -> Float32:
    sound = _silence(random, 1, 4)
    if random.random() < 0.4:
        t = np.arange(len(sound)) / SAMPLE_RATE_HZ
        tone = np.sin(2 * np.pi * random.choice(TONES_HZ) * t)
        return np.asarray(0.3 * tone, np.float32)
    return np.asarray(noise(random, len(sound)) * np.float32(0.1), np.float32)


def _said(random: Random, speech: SpeechSet, index: int, hard: float) -> tuple[Float32, list[int]]:
    tokens = list(speech[index].tokens)
    lead = _silence(random, 0, 0.9) if random.random() < 0.6 else _silence(random, 0, 0.1)
    parts = [lead, _stretched(random, speech.sound(index))]
    while random.random() < 0.25 * hard and sum(map(len, parts)) < 5 * SAMPLE_RATE_HZ:
        other = int(random.integers(len(speech)))
        louder = np.float32(random.uniform(0.5, 1.5))
        parts += [_silence(random, 0.2, 1.0), _stretched(random, speech.sound(other)) * louder]
        tokens += speech[other].tokens
    parts.append(_silence(random, 0.6, 1.1))  # room for the look-ahead
    return np.concatenate(parts), tokens


def example(random: Random, speech: SpeechSet, index: int, hard: float = 1.0) -> Example:
    """One example; `hard` goes from 0, clean single sentences, to 1, the full variety."""
    if random.random() < 0.02 * hard:
        sound, tokens = _nothing_said(random), list[int]()
    else:
        sound, tokens = _said(random, speech, index, hard)
    if random.random() < 0.12 * hard:  # other people talk in the background
        others = [speech.sound(int(j)) for j in random.integers(len(speech), size=3)]
        both = np.resize(np.concatenate(others), 2 * len(sound))
        babble = both[: len(sound)] + both[len(sound) :]
        heard = line(random, sound, babble=babble, snr_db=random.uniform(10, 25))
    elif random.random() > 0.3 + hard:
        heard = line(random, sound, snr_db=random.uniform(25, 50))
    else:
        heard = line(random, sound)
    return Example(features(heard)[:, :MEL_USED], tuple(tokens))


def masked(random: Random, feats: Float32) -> Float32:
    """SpecAugment: some bands and one stretch of time replaced by their means."""
    feats = feats.copy()
    for _ in range(2):
        if random.random() < 0.5:
            width = int(random.integers(1, 9))
            low = int(random.integers(0, MEL_USED - width))
            feats[:, low : low + width] = feats[:, low : low + width].mean()
    if random.random() < 0.3:
        width = int(random.integers(1, 9))
        at = int(random.integers(0, max(1, len(feats) - width)))
        feats[at : at + width] = feats.mean(0)
    return feats


def batch_of(examples: list[Example]) -> Batch:
    """Pad to the longest, to a whole number of output frames."""
    longest = max(len(e.features) for e in examples)
    frames = max(45, 4 * -(-(longest - FRAMES_EXTRA) // 4) + FRAMES_EXTRA)
    padded = np.full((len(examples), frames, MEL_USED), SILENT_FEATURE, np.float32)
    for row, e in zip(padded, examples, strict=True):
        row[: len(e.features)] = e.features
    return Batch(
        padded,
        [len(e.features) for e in examples],
        [token for e in examples for token in e.tokens],
        [len(e.tokens) for e in examples],
    )


def batches(path: Path, seed: int, batch_s: float, warm: int) -> Iterator[Batch]:
    """Batches of about `batch_s` seconds of sound, for ever; the first `warm` examples are easy."""
    random, speech = np.random.default_rng(seed), SpeechSet(path)
    made = 0
    order: list[int] = []
    old: list[Example] = []
    while True:
        fresh = []
        for _ in range(POOL // REUSE if old else POOL):
            if not order:
                order = random.permutation(len(speech)).tolist()
            fresh.append(example(random, speech, order.pop(), min(1.0, made / warm)))
            made += 1
        pool = list(fresh)
        if old:
            pool += [old[int(k)] for k in random.integers(len(old), size=POOL - len(fresh))]
        old = (old + fresh)[-KEPT:]
        pool = [Example(masked(random, e.features), e.tokens) for e in pool]
        pool.sort(key=lambda e: len(e.features))
        groups: list[list[Example]] = [[]]
        for e in pool:
            groups[-1].append(e)
            if len(groups[-1]) * len(e.features) > 100 * batch_s:
                groups.append([])
        groups = [group for group in groups if group]
        for k in random.permutation(len(groups)):
            yield batch_of(groups[int(k)])


def produce(path: Path, seed: int, queue: Any, batch_s: float, warm: int) -> None:
    """Fill a queue with batches, for ever; the main function of a helper process."""
    os.nice(5)
    for batch in batches(path, seed, batch_s, warm):
        queue.put(batch)
