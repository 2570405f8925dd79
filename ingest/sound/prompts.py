"""Prompt files, decoded once into the frames of a session's codec.

Prompts are content-addressed (`<prompts_dir>/<sha256>.wav`), so what is in memory never goes stale.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from ingest.sound.onset import level_db
from ingest.sound.playout import Prompt
from ingest.sound.splice import joined
from ingest.sound.types import Format
from ringlog.audio import wav
from ringlog.audio.g711 import Int16, encode

MAX_CACHE_BYTES: Final = 64 * 2**20
MAX_PROMPT_S: Final = 300

_SHA256 = re.compile(r"[0-9a-f]{64}")

_PromptKey = tuple[tuple[str, ...], Format]

MAX_PARTS: Final = 100
"""Parts of one prompt: a dozen values and the text between them."""


class PromptMissing(Exception):
    """There is no such prompt, or it is no usable sound; the text says which."""


class PromptStore:
    """Prompts by their hash; the least recently played are forgotten first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cache: OrderedDict[_PromptKey, Prompt] = OrderedDict()
        self._bytes = 0

    async def get(self, sha256: str, sound: Format) -> Prompt:
        """The prompt in that format; raises PromptMissing."""
        return await self.get_joined((sha256,), sound)

    async def get_joined(self, parts: Sequence[str], sound: Format) -> Prompt:
        """The prompt that consists of these sounds; raises PromptMissing."""
        key = (tuple(parts), sound)
        found = self._cache.get(key)
        if found is not None:
            self._cache.move_to_end(key)
            return found
        if not 0 < len(parts) <= MAX_PARTS:
            raise PromptMissing(f"{len(parts)} parts, not 1 to {MAX_PARTS}")
        if not all(_SHA256.fullmatch(part) for part in parts):
            raise PromptMissing("not a SHA-256 in hexadecimal")
        paths = [self._folder / f"{part}.wav" for part in parts]
        prompt = await asyncio.to_thread(load, paths, sound)
        if key not in self._cache:
            self._cache[key] = prompt
            self._bytes += len(prompt.frames) * sound.frame_bytes
            while self._bytes > MAX_CACHE_BYTES and len(self._cache) > 1:
                (_, dropped), old = self._cache.popitem(last=False)
                self._bytes -= len(old.frames) * dropped.frame_bytes
        return prompt


def load(paths: Sequence[Path], sound: Format) -> Prompt:
    """Reads WAV files, joins them and makes 20 ms frames, the last one filled up with silence.

    Raises PromptMissing.
    """
    samples = joined([_read(path, sound) for path in paths], sound.rate_hz)
    if len(samples) > MAX_PROMPT_S * sound.rate_hz:
        raise PromptMissing(f"{paths[0].name} and its parts are longer than {MAX_PROMPT_S} s")
    size = sound.frame_samples
    whole = np.zeros(-(-len(samples) // size) * size, np.int16)
    whole[: len(samples)] = samples
    octets = encode(sound.codec, whole)
    step = sound.frame_bytes
    frames = tuple(octets[n : n + step] for n in range(0, len(octets), step))
    return Prompt(frames, tuple(level_db(sound.codec, frame) for frame in frames))


def _read(path: Path, sound: Format) -> Int16:
    try:
        samples, _ = wav.read(path, sound.rate_hz)
    except FileNotFoundError:
        raise PromptMissing(f"no file {path.name}") from None
    except (OSError, ValueError) as error:
        raise PromptMissing(str(error)) from error
    if samples.ndim > 1:
        samples = samples[:, 0]
    if len(samples) > MAX_PROMPT_S * sound.rate_hz:
        raise PromptMissing(f"{path.name} is longer than {MAX_PROMPT_S} s")
    return samples
