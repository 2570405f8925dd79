"""Stored speech: utterances of one set in one .npz file, clean int16 at 8 kHz."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_worker.training.telephone import Float32
from ringlog.audio.g711 import Int16, to_float


@dataclass(frozen=True)
class Utterance:
    """One spoken sentence. `tokens` are ids of the vocabulary."""

    samples: Int16
    tokens: tuple[int, ...]
    text: str
    voice: str


def save(path: Path, utterances: Sequence[Utterance]) -> None:
    """Write a set."""
    np.savez(
        path,
        audio=np.concatenate([u.samples for u in utterances]),
        audio_lengths=[len(u.samples) for u in utterances],
        tokens=np.concatenate([np.array(u.tokens, np.int16) for u in utterances]),
        token_counts=[len(u.tokens) for u in utterances],
        texts=[u.text for u in utterances],
        voices=[u.voice for u in utterances],
    )


class SpeechSet:
    """A set read back; utterances are cut out when they are asked for."""

    def __init__(self, path: Path) -> None:
        stored = np.load(path)
        self._audio, self._tokens = stored["audio"], stored["tokens"]
        self._texts, self._voices = stored["texts"], stored["voices"]
        self._audio_at = np.concatenate([[0], np.cumsum(stored["audio_lengths"])])
        self._tokens_at = np.concatenate([[0], np.cumsum(stored["token_counts"])])

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: int) -> Utterance:
        if not 0 <= index < len(self):
            raise IndexError(index)
        a, b = self._audio_at[index : index + 2]
        c, d = self._tokens_at[index : index + 2]
        tokens = tuple(int(token) for token in self._tokens[c:d])
        text, voice = str(self._texts[index]), str(self._voices[index])
        return Utterance(self._audio[a:b], tokens, text, voice)

    def sound(self, index: int) -> Float32:
        """float32 [n] in [-1, 1]."""
        return to_float(self[index].samples)
