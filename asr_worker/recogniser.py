"""sherpa-onnx behind a small interface: one stream a turn, batches, times in milliseconds.

Endpoint rules are off, streams are never reset nor finished: a turn's sound goes in, then zeros
until its last token must be out, then the stream is dropped: a stream that is reset gives other
texts than a new one.
"""

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr_worker.rules import SAMPLES_PER_MS
from asr_worker.upsample import Upsampler
from ringlog.asr_models import AsrModels, AsrModelsError, ModelEntry
from ringlog.audio.g711 import Int16, to_float

SAFETY_MS = 100

Trial = Callable[[str], str | None]
"""Tries a profile in a separate process; returns its fault, or None."""


class ModelMissing(RuntimeError):
    """A model's files are not there; the text says how to get them."""


class DefaultUnusable(RuntimeError):
    """The site's default profile cannot serve; the text names it and says why."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A stream's result. Token times are milliseconds from the stream's first sample."""

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
            raise AsrModelsError(f"model {name!r}: sherpa-onnx has no online type {entry.type!r}")
        given: dict[str, Any] = {key: str(folder / file) for key, file in entry.files.items()}
        given |= entry.options | options
        given.setdefault("num_threads", 1)
        given.setdefault("sample_rate", entry.sample_rate_hz)
        given["enable_endpoint_detection"] = False
        known = inspect.signature(factory).parameters
        if unknown := sorted(set(given) - set(known)):
            raise AsrModelsError(f"model {name!r}: from_{entry.type} knows no {', '.join(unknown)}")
        required = {k for k, p in known.items() if p.default is inspect.Parameter.empty}
        if lacking := sorted(required - set(given)):
            raise AsrModelsError(f"model {name!r}: from_{entry.type} needs {', '.join(lacking)}")
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
    """The recognisers of all profiles that can serve, loaded before the first call.

    Profiles with the same model and options share one. `left_out` says, by name, why the others
    cannot serve.
    """

    def __init__(
        self, registry: AsrModels, default: str = "", trial: Trial = lambda profile: None
    ) -> None:
        """`default` is the site's own default profile; empty or unknown: the registry's.

        Raises DefaultUnusable: a call that names no profile, or one that is left out, must not get
        a model that nobody chose.
        """
        self.registry = registry
        self.default = default if default in registry.profiles else registry.default
        self.left_out: dict[str, str] = {}
        self._serving: dict[str, Recogniser] = {}
        loaded: dict[str, Recogniser] = {}
        for profile, entry in registry.profiles.items():
            key = f"{entry.model} {sorted(entry.options.items())}"
            try:
                if key not in loaded:
                    loaded[key] = self._load(profile, trial)
                self._serving[profile] = loaded[key]
            except Exception as error:  # the library raises many kinds for a wrong model
                self.left_out[profile] = str(error) or type(error).__name__
        if self.default not in self._serving:
            raise DefaultUnusable(
                f"profile {self.default!r}, the site's default: {self.left_out[self.default]}"
            )

    def _load(self, profile: str, trial: Trial) -> Recogniser:
        entry = self.registry.profiles[profile]
        check_files(self.registry, entry.model)
        if (why := trial(profile)) is not None:
            raise AsrModelsError(why)
        recogniser = load(self.registry, entry.model, **entry.options)
        try_out(recogniser)
        return recogniser

    def resolve(self, profile: str) -> str:
        """The profile itself where it can serve, else the site's default."""
        return profile if profile in self._serving else self.default

    def get(self, profile: str) -> Recogniser:
        """The recogniser that serves calls of a profile. Loads nothing."""
        return self._serving[self.resolve(profile)]


def check_files(registry: AsrModels, model: str) -> None:
    """Raises ModelMissing where a model's files are not there, and AsrModelsError."""
    if missing := registry.missing(model):
        how = f"`ringlog models get {model}`" if registry.model(model).archive else "its files"
        raise ModelMissing(f"model {model!r} needs {how}: {missing[0]} is not there")


def load(registry: AsrModels, model: str, **options: Any) -> Recogniser:
    """Load a model; raises ModelMissing where its files are not there, and AsrModelsError."""
    check_files(registry, model)
    return Recogniser(model, registry.model(model), registry.folder_of(model), **options)


def try_out(recogniser: Recogniser) -> None:
    """Decode a second of noise; raises what the library raises for a model that cannot."""
    noise = np.random.default_rng(1).integers(-300, 300, 8 * 1000).astype(np.int16)
    stream = recogniser.stream()
    stream.feed(noise)
    stream.feed(recogniser.padding(0))
    recogniser.decode([stream])
    recogniser.result(stream)
