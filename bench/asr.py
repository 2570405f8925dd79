"""ASR worker core against a bare sherpa-onnx batch loop, on the same legs in 100 ms steps.

The core takes records of `media.audio` and gives transcripts: it decodes G.711, finds turns, feeds
one stream a turn, decodes in batches, and makes partials and finals. The bare loop is handed the
decoded sound, feeds one endless stream a leg, and decodes in the same batches; it finds no turns,
writes no events, and cannot resume after a restart. Times real time per CPU second, one thread
each.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import sherpa_onnx
import soxr

from asr_worker.core import Core
from asr_worker.detector import Silero
from asr_worker.recogniser import Recognisers
from bench import speech, timing
from bench.measure import Measure, Outcome
from ringlog.asr_models import AsrModels, load
from ringlog.audio import SAMPLE_RATE_HZ
from ringlog.audio.g711 import to_float
from schemas.events import MediaChunk

PARTITIONS = 8
STEP_S = 0.1
LEGS_IN_REAL_TIME = 150
SPREAD_STEPS = 20
BUDGET = 0.85
_WIDE_HZ = 16_000

Legs = list[list[MediaChunk]]


class Worker:
    """The core, as its host drives it: a poll's records, all steps, and the offsets to commit."""

    def __init__(self, registry: AsrModels) -> None:
        self._recognisers = Recognisers(registry)
        self._detector = Silero()

    def run(
        self,
        legs: Legs,
        stepped: Callable[[], None] = lambda: None,
        begins: list[int] | None = None,
    ) -> int:
        """All legs side by side; returns the finals. `stepped` is called after every 100 ms.

        `begins` has the step at which each leg begins; it goes on until the first one ends.
        """
        core = Core(self._recognisers, self._detector)
        for partition in range(PARTITIONS):
            core.assign(partition, {})
        finals = 0
        offsets = [0] * PARTITIONS
        begins = begins or [0] * len(legs)
        for step in range(min(begins) + len(legs[0])):
            for n, leg in enumerate(legs):
                if step < begins[n]:
                    continue
                partition = n % PARTITIONS
                core.accept(partition, offsets[partition], step * 100, leg[step - begins[n]])
                offsets[partition] += 1
            while core.busy:
                finals += sum(o.transcript.kind == "final" for o in core.step(time.perf_counter))
            core.commit_offsets()
            stepped()
        return finals


class Bare:
    """The batch loop of sherpa-onnx's own examples, on float sound at `rate_hz`."""

    def __init__(self, registry: AsrModels, rate_hz: int) -> None:
        entry = registry.model("demo")
        folder = registry.folder_of("demo")
        factory = getattr(sherpa_onnx.OnlineRecognizer, f"from_{entry.type}")
        files = {key: str(folder / name) for key, name in entry.files.items()}
        self._recogniser: Any = factory(
            **files, num_threads=1, sample_rate=_WIDE_HZ, enable_endpoint_detection=False
        )
        self._rate_hz = rate_hz

    def run(self, legs: list[Any]) -> int:
        """All legs side by side; returns the characters recognised."""
        recogniser = self._recogniser
        streams = [recogniser.create_stream() for _ in legs]
        step = int(self._rate_hz * STEP_S)
        for at in range(0, len(legs[0]), step):
            for stream, sound in zip(streams, legs, strict=True):
                stream.accept_waveform(self._rate_hz, sound[at : at + step])
            while ready := [s for s in streams if recogniser.is_ready(s)]:
                recogniser.decode_streams(ready)
        return sum(len(str(recogniser.get_result(stream))) for stream in streams)


@contextmanager
def quiet() -> Iterator[None]:
    """Without sherpa-onnx's three lines for every stream that it resamples."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def in_real_time(worker: Worker, legs: Legs, apart: bool) -> Measure:
    """CPU time of 100 ms steps with 150 legs: a step must be done before the next one comes.

    Points of decoding lie on each leg's own grid. Legs that begin `apart`, over two seconds as
    calls do, share the work evenly among the steps; those that begin at once all want it together.
    """
    begins = [n % SPREAD_STEPS if apart else 0 for n in range(len(legs))]
    steps_ms: list[float] = []
    last = time.process_time()

    def stepped() -> None:
        nonlocal last
        now = time.process_time()
        steps_ms.append((now - last) * 1000)
        last = now

    worker.run(legs, stepped, begins)
    steady_ms = steps_ms[max(begins) :]
    p95, worst = np.percentile(steady_ms, [95, 100])
    over = sum(step > STEP_S * 1000 for step in steady_ms)
    begun = "begun over 2 s" if apart else "begun at the same moment"
    return Measure(
        what=f"a 100 ms step of {len(legs)} legs {begun}, p95", unit="CPU ms", ours=float(p95),
        against="the step's length", theirs=STEP_S * 1000, budget=1.0, bound="at most",
        note=f"mean {np.mean(steady_ms):.0f} ms, worst {worst:.0f} ms, {over} of {len(steady_ms)} "
        "steps over",
    )  # fmt: skip


def compare(manner: speech.Manner, what: str, size: tuple[int, float, int]) -> Outcome:
    """Throughput on one kind of talk. `size`: legs, seconds of each, rounds."""
    count, seconds, rounds = size
    levels = np.linspace(15, 20, count)
    made = [speech.leg(n, seconds, float(levels[n]), manner) for n in range(count)]
    records = [speech.chunks(n, octets) for n, (octets, _) in enumerate(made)]
    narrow = [to_float(speech.samples(octets)) for octets, _ in made]
    wide = [soxr.resample(x, SAMPLE_RATE_HZ, _WIDE_HZ).astype(np.float32) for x in narrow]
    registry = load()
    worker, bare = Worker(registry), Bare(registry, SAMPLE_RATE_HZ)
    spared = Bare(registry, _WIDE_HZ)
    audio_s, finals = count * seconds, 0

    def core() -> float:
        nonlocal finals
        finals = worker.run(records)
        return audio_s

    def loop(of: Bare, legs: list[Any]) -> Callable[[], float]:
        def work() -> float:
            if not of.run(legs):
                raise RuntimeError("the bare loop recognised nothing")
            return audio_s

        return work

    with quiet():
        rates = timing.alternate(
            {"core": core, "bare": loop(bare, narrow), "spared": loop(spared, wide)}, rounds
        )
    if not finals:
        raise RuntimeError("the worker recognised nothing")

    def measure(theirs: str, against: str, budget: float | None) -> Measure:
        return Measure(
            what=f"throughput, {what}", unit="times real time",
            ours=timing.middle(rates, "core"), against=against,
            theirs=timing.middle(rates, theirs), budget=budget,
            spread=timing.spread(rates, "core", theirs),
        )  # fmt: skip

    share = float(np.mean([speech_share for _, speech_share in made]))
    has_budget = manner is speech.SENTENCES
    return Outcome(
        measures=[
            measure("bare", "bare sherpa-onnx batch loop", BUDGET if has_budget else None),
            measure("spared", "the same, given the sound at 16 kHz", None),
        ],
        notes=[
            f"{what}: {count} legs of {seconds:.0f} s at 15 to 20 dB, {share:.0%} speech, "
            f"{finals} turns, model demo, {rounds} rounds"
        ],
    )


def run(quick: bool) -> Outcome:
    """Throughput against the bare loop, and the steps of 150 legs."""
    size = (4, 6.0, 1) if quick else (50, 20.0, 3)
    many, seconds = (6, 3.0) if quick else (LEGS_IN_REAL_TIME, 20.0)
    sentences = compare(speech.SENTENCES, "two or three phrases a turn", size)
    short = compare(speech.SHORT_ANSWERS, "one word or two a turn", size)
    talk = [speech.leg(n, seconds, 15.0, speech.SENTENCES)[0] for n in range(many)]
    worker, records = Worker(load()), [speech.chunks(n, o) for n, o in enumerate(talk)]
    steps = [in_real_time(worker, records, apart) for apart in (True, False)]
    return Outcome(
        measures=[*sentences.measures, *short.measures, *steps],
        notes=[
            *sentences.notes,
            *short.notes,
            "a turn needs what a bare loop skips: the detector's warm-up, the pre-roll decoded "
            "again and the padding that brings its last word out",
        ],
    )
