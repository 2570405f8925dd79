"""Prompt files, decoded once into the frames of a session's codec.

A prompt is a file of this machine (`<prompts_dir>/<name>.wav`), where playbooks are published here,
or is fetched from the log (`ingest.sound.prompt_fetch`).
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from ingest.sound.onset import level_db
from ingest.sound.playout import Prompt
from ingest.sound.prompt_lists import PromptLists, PromptMissing
from ingest.sound.splice import joined
from ingest.sound.types import Format
from ringlog.audio import wav
from ringlog.audio.g711 import Int16, encode
from schemas.events import PromptRef

MAX_CACHE_BYTES: Final = 64 * 2**20
MAX_PROMPT_S: Final = 300

SHA256: Final = re.compile(r"[0-9a-f]{64}")

_PromptKey = tuple[tuple[str, ...], Format]

MAX_PARTS: Final = 100
"""Parts of one prompt: a dozen values and the text between them."""


class Fetcher(Protocol):
    """Brings prompts from elsewhere."""

    async def fetch(self, ref: PromptRef) -> Path:
        """The prompt's file; raises PromptMissing."""
        ...


class PromptStore:
    """Prompts by name; of those in memory the least recently played are forgotten first."""

    def __init__(
        self, folder: Path, lists: PromptLists | None = None, fetcher: Fetcher | None = None
    ) -> None:
        self._folder = folder
        self._lists = lists or PromptLists()
        self._fetcher = fetcher
        self._cache: OrderedDict[_PromptKey, Prompt] = OrderedDict()
        self._bytes = 0

    async def bring(self, refs: Iterable[PromptRef]) -> None:
        """Brings prompts to this machine; raises PromptMissing."""
        wanted = list(refs)
        there = await asyncio.to_thread(
            lambda: {ref.name for ref in wanted if self._file(ref.name).exists()}
        )
        for ref in wanted:
            if ref.name not in there:
                await self._path(ref.name)

    async def get(self, name: str, sound: Format) -> Prompt:
        """The prompt in that format; raises PromptMissing."""
        return await self.get_joined((name,), sound)

    async def get_joined(self, parts: Sequence[str], sound: Format) -> Prompt:
        """The prompt that consists of these sounds; raises PromptMissing."""
        refs = ((part, self._lists.ref(part)) for part in parts)
        key = tuple(part if ref is None else ref.sha256 for part, ref in refs), sound
        found = self._cache.get(key)
        if found is not None:
            self._cache.move_to_end(key)
            return found
        if not 0 < len(parts) <= MAX_PARTS:
            raise PromptMissing(f"{len(parts)} parts, not 1 to {MAX_PARTS}")
        paths = [await self._path(part) for part in parts]
        prompt = await asyncio.to_thread(load, paths, sound)
        if key not in self._cache:
            self._cache[key] = prompt
            self._bytes += len(prompt.frames) * sound.frame_bytes
            while self._bytes > MAX_CACHE_BYTES and len(self._cache) > 1:
                (_, dropped), old = self._cache.popitem(last=False)
                self._bytes -= len(old.frames) * dropped.frame_bytes
        return prompt

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.wav"

    async def _path(self, name: str) -> Path:
        if not SHA256.fullmatch(name):
            raise PromptMissing("not a SHA-256 in hexadecimal")
        path, ref = self._file(name), self._lists.ref(name)
        if ref is None or self._fetcher is None or await asyncio.to_thread(path.exists):
            return path
        return await self._fetcher.fetch(ref)


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
