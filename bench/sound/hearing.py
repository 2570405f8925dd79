"""What the ASR worker makes of records: finals, by its own detectors and turns; and the errors."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asr_worker.core import Core
from asr_worker.detector import Silero
from asr_worker.recogniser import Recognisers
from asr_worker.training.measure import edits, units
from bench.asr import quiet
from bench.measure import Skipped
from bench.sound.material import SPEECH
from ringlog.asr_models import load
from schemas.events import MediaChunk, Transcript

PARTITIONS: Final = 8

REAL_MODEL: Final = """
models:
  fsmn:
    type: zipformer2_ctc
    files: {tokens: tokens.txt, model: model.onnx}
    flush_ms: 700
    time_scale: 0.75
    time_shift_ms: -240
profiles:
  fsmn: {model: fsmn, detector: people}
"""


@dataclass(frozen=True)
class Errors:
    """Wrong characters of all, summed over calls; `heard` where there should be nothing."""

    wrong: int
    total: int

    @property
    def rate(self) -> float:
        """Character error rate; inserted characters can bring it over 1."""
        return self.wrong / self.total


class Hearing:
    """The worker's core with the demo recogniser, and the small real one where it is."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory()
        home = Path(self._home.name)
        model = SPEECH / "fsmn-ctc-zh"
        if not model.is_dir():
            raise Skipped("the small real model is not beside the project (shared/speech)")
        (home / "models").mkdir()
        (home / "models" / "fsmn").symlink_to(model)
        (home / "asr-models.yaml").write_text(REAL_MODEL, encoding="utf-8")
        self._recognisers = Recognisers(load(home))
        self._detector = Silero()

    def texts(self, calls: Sequence[list[MediaChunk]]) -> list[str]:
        """What is recognised in each call, its finals joined."""
        finals = [{t.start_ms: t.text for _, t in of if t.kind == "final"}
                  for of in self._transcripts(calls)]  # fmt: skip
        return ["".join(text for _, text in sorted(of.items())) for of in finals]

    def partials(self, calls: Sequence[list[MediaChunk]]) -> list[list[tuple[int, str]]]:
        """What is known of each call's words, and from when on, ms from its first record: the
        finals so far and the newest partial. The time that the machine takes is not in it."""
        out: list[list[tuple[int, str]]] = []
        for of in self._transcripts(calls):
            said, texts = "", list[tuple[int, str]]()
            for at_ms, transcript in of:
                texts.append((at_ms, said + transcript.text))
                if transcript.kind == "final":
                    said += transcript.text
            out.append(texts)
        return out

    def _transcripts(self, calls: Sequence[list[MediaChunk]]) -> list[list[tuple[int, Transcript]]]:
        """The worker's outputs of each call in their order, and when they came."""
        core = Core(self._recognisers, self._detector)
        numbers = {records[0].call_id: n for n, records in enumerate(calls)}
        for partition in range(PARTITIONS):
            core.assign(partition, {})
        out: list[list[tuple[int, Transcript]]] = [[] for _ in calls]
        offsets = [0] * PARTITIONS
        with quiet():
            for step in range(max(map(len, calls))):
                for n, records in enumerate(calls):
                    if step < len(records):
                        at = n % PARTITIONS
                        core.accept(at, offsets[at], step * 100, records[step])
                        offsets[at] += 1
                while core.busy:
                    for output in core.step(time.perf_counter):
                        of = out[numbers[output.transcript.call_id]]
                        of.append(((step + 1) * 100, output.transcript))
                core.commit_offsets()
        return out

    def errors(self, calls: Sequence[list[MediaChunk]], texts: Sequence[str]) -> Errors:
        """Against what was said."""
        heard = self.texts(calls)
        wanted = [units(text) for text in texts]
        wrong = sum(edits(units(h), w) for h, w in zip(heard, wanted, strict=True))
        return Errors(wrong, sum(map(len, wanted)))
