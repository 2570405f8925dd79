"""sherpa-onnx behind a small interface: one stream a turn, batches, times in milliseconds.

Endpoint rules are off, streams are never reset nor finished: a turn's sound goes in, then zeros
until its last token must be out, then the stream is dropped (`references/asr-worker.md`, rule 3).
"""

import inspect
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr_worker.registry import ModelEntry, Registry, RegistryError
from asr_worker.rules import SAMPLES_PER_MS
from asr_worker.upsample import Upsampler
from ringlog.audio.g711 import Int16, to_float

SAFETY_MS = 100


class ModelMissing(RuntimeError):
    """A model's files are not there; the text says how to get them."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a stream gave. Token times are milliseconds from the stream's first sample."""

    text: str
    tokens: tuple[tuple[str, float], ...]
    confidence: float | None


class Stream:
    """The sound of one turn on its way into a recogniser."""

    __slots__ = ("_rate_hz", "_upsampler", "handle")

    def __init__(self, handle: Any, rate_hz: int) -> None:
        self.handle = handle
        self._rate_hz = rate_hz
        self._upsampler = Upsampler() if rate_hz == 16_000 else None

    def feed(self, samples: Int16) -> None:
        """Append int16 [n] at 8 kHz."""
        sound = to_float(samples)
        if self._upsampler is not None:
            sound = self._upsampler.feed(sound)
        if len(sound):
            self.handle.accept_waveform(self._rate_hz, sound)


class Recogniser:
    """One loaded model. Streams are independent, so batches change nothing but speed."""

    def __init__(self, name: str, entry: ModelEntry, folder: Path, **options: Any) -> None:
        import sherpa_onnx

        factory = getattr(sherpa_onnx.OnlineRecognizer, f"from_{entry.type}", None)
        if factory is None:
            raise RegistryError(f"model {name!r}: sherpa-onnx has no online type {entry.type!r}")
        given: dict[str, Any] = {key: str(folder / file) for key, file in entry.files.items()}
        given |= entry.options | options
        given.setdefault("num_threads", 1)
        given.setdefault("sample_rate", entry.sample_rate_hz)
        given["enable_endpoint_detection"] = False
        known = inspect.signature(factory).parameters
        if unknown := sorted(set(given) - set(known)):
            raise RegistryError(f"model {name!r}: from_{entry.type} knows no {', '.join(unknown)}")
        required = {k for k, p in known.items() if p.default is inspect.Parameter.empty}
        if lacking := sorted(required - set(given)):
            raise RegistryError(f"model {name!r}: from_{entry.type} needs {', '.join(lacking)}")
        self.name = name
        self.entry = entry
        self._sherpa: Any = factory(**given)

    def stream(self) -> Stream:
        """A new stream, about 0.1 ms."""
        return Stream(self._sherpa.create_stream(), self.entry.sample_rate_hz)

    def padding(self, silence: int) -> Int16:
        """Zeros that a turn needs after its last `silence` samples, int16 [n]."""
        lacking = max(0, self.entry.flush_ms * SAMPLES_PER_MS - silence)
        return np.zeros(lacking + SAFETY_MS * SAMPLES_PER_MS, np.int16)

    def decode(self, streams: Iterable[Stream]) -> None:
        """Decode all that the streams hold, in batches."""
        ready = [s.handle for s in streams]
        while ready := [s for s in ready if self._sherpa.is_ready(s)]:
            self._sherpa.decode_streams(ready)

    def text(self, stream: Stream) -> str:
        """The text so far."""
        return str(self._sherpa.get_result(stream.handle)).strip()

    def result(self, stream: Stream) -> Heard:
        """The text with tokens, times and, where the model gives it, a confidence in 0..1."""
        found = self._sherpa.get_result_all(stream.handle)
        scale, shift = self.entry.time_scale, self.entry.time_shift_ms
        times = [max(0.0, t * 1000 * scale + shift) for t in found.timestamps]
        logs = list(found.ys_probs)
        confidence = math.exp(min(0.0, sum(logs) / len(logs))) if logs else None
        tokens = tuple(zip([str(token) for token in found.tokens], times, strict=False))
        return Heard(str(found.text).strip(), tokens, confidence)


class Recognisers:
    """Recognisers by `asr_profile`, loaded when first asked for."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._loaded: dict[str, Recogniser] = {}

    def get(self, profile: str) -> Recogniser:
        """The recogniser of a profile; unknown profiles get the default's.

        Profiles with the same model and options share one. Raises ModelMissing and RegistryError.
        """
        entry = self.registry.profiles[self.registry.resolve(profile)]
        key = f"{entry.model} {sorted(entry.options.items())}"
        if key not in self._loaded:
            self._loaded[key] = load(self.registry, entry.model, **entry.options)
        return self._loaded[key]


def load(registry: Registry, model: str, **options: Any) -> Recogniser:
    """Load a model; raises ModelMissing where its files are not there, and RegistryError."""
    if missing := registry.missing(model):
        how = f"`ringlog models get {model}`" if registry.model(model).archive else "its files"
        raise ModelMissing(f"model {model!r} needs {how}: {missing[0]} is not there")
    return Recogniser(model, registry.model(model), registry.folder_of(model), **options)
