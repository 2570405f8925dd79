"""Error rates of a model file on the test sets, by sherpa-onnx itself.

`python -m asr_worker.training.evaluate MODEL.onnx TOKENS.txt WORKDIR [--limit N]`
"""

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from asr_worker.recogniser import Recogniser
from asr_worker.training.measure import edits, units
from asr_worker.training.speech import SpeechSet
from asr_worker.training.telephone import Float32, line
from ringlog.asr_models import ModelEntry
from ringlog.audio import SAMPLE_RATE_HZ
from ringlog.audio.g711 import to_int16

BATCH = 20


@dataclass(frozen=True)
class Condition:
    """A kind of line."""

    name: str
    snr_db: float
    codec: str
    level_db: float


CONDITIONS = (
    Condition("mu-law, no noise", np.inf, "pcmu", -20),
    Condition("mu-law, 15 dB noise", 15, "pcmu", -20),
    Condition("A-law, 10 dB noise", 10, "pcma", -20),
    Condition("mu-law, quiet (-34 dB), 20 dB noise", 20, "pcmu", -34),
)


@dataclass(frozen=True)
class ErrorRate:
    """Wrong units (characters or English words) of all units, and utterances without error."""

    wrong: int
    total: int
    exact: int
    utterances: int


def padded(samples: Float32, before_s: float = 0.3, after_s: float = 0.8) -> Float32:
    """Speech with silence around it."""
    before, after = (np.zeros(int(s * SAMPLE_RATE_HZ), np.float32) for s in (before_s, after_s))
    return np.concatenate([before, samples, after])


def recogniser(model: Path, tokens: Path) -> Recogniser:
    """A model file of this network."""
    entry = ModelEntry(
        type="zipformer2_ctc",
        files={"model": str(model.absolute()), "tokens": str(tokens.absolute())},
        flush_ms=600,
    )
    return Recogniser("evaluated", entry, Path())


def error_rate(model: Recogniser, speech: SpeechSet, condition: Condition, limit: int) -> ErrorRate:
    """Errors on at most `limit` utterances of a set, 20 streams at a time."""
    random = np.random.default_rng(100 + CONDITIONS.index(condition))
    count = min(limit, len(speech))
    wrong = total = exact = 0
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        streams = []
        for i in numbers:
            sound = line(
                random,
                padded(speech.sound(i)),
                snr_db=condition.snr_db,
                codec=condition.codec,
                level_db=condition.level_db,
            )
            stream = model.stream()
            stream.feed(to_int16(sound))
            streams.append(stream)
        model.decode(streams)
        for i, stream in zip(numbers, streams, strict=True):
            wanted = units(speech[i].text)
            errors = edits(units(model.text(stream)), wanted)
            wrong, total, exact = wrong + errors, total + len(wanted), exact + (errors == 0)
    return ErrorRate(wrong, total, exact, count)


@click.command()
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.argument("tokens", type=click.Path(exists=True, path_type=Path))
@click.argument("work", type=click.Path(exists=True, path_type=Path))
@click.option("--limit", default=100_000, help="Utterances of each set, at most")
def main(model: Path, tokens: Path, work: Path, limit: int) -> None:
    """Error rates of MODEL on the test sets in WORK."""
    loaded = recogniser(model, tokens)
    for path in sorted(work.glob("test_*.npz")):
        speech = SpeechSet(path)
        click.echo(path.stem.removeprefix("test_"))
        for condition in CONDITIONS:
            rate = error_rate(loaded, speech, condition, limit)
            click.echo(
                f"    {condition.name}: {100 * rate.wrong / rate.total:.2f} % "
                f"({100 * rate.exact / rate.utterances:.1f} % of {rate.utterances} exact)"
            )


if __name__ == "__main__":
    main()
