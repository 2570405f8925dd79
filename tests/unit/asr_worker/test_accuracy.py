"""Error rates: the demo model on synthetic voices, and a real model on recordings of people."""

import csv
from pathlib import Path

import numpy as np
import pytest

from asr_worker.bank import thresholds_of
from asr_worker.detector import shared
from asr_worker.recogniser import Recogniser
from asr_worker.transcriber import Transcriber
from ringlog.asr_models import AsrModels, ModelEntry, load
from ringlog.audio import wav
from ringlog.audio.g711 import Int16, decode, encode
from ringlog.settings import root
from tests.unit.asr_worker.material import (
    SENTENCES,
    VOICES,
    MemoryLog,
    chunks,
    interleave,
    timeline,
    work,
)

SPEECH = root().parent / "shared" / "speech"
needs_recordings = pytest.mark.skipif(
    not SPEECH.is_dir(), reason="the recordings of ../shared/speech are not on this machine"
)


def distance(a: str, b: str) -> int:
    """Levenshtein distance over characters."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


def test_distance() -> None:
    assert distance("价格太高了", "价格太高了") == 0
    assert distance("价格太高了", "价太高啊了") == 2
    assert distance("", "abc") == 3


def test_demo_lines_are_recognised_over_a_noisy_line() -> None:
    wrong = total = 0
    for k, voice in enumerate(VOICES):
        texts = [SENTENCES[(k + i) % len(SENTENCES)] for i in range(8)]
        log = MemoryLog()
        work(interleave([(0, chunks(voice, timeline(texts, voice, seed=k, snr_db=20)[0]))]), log)
        wrong += distance("".join(t.text for t in log.finals()), "".join(texts))
        total += sum(map(len, texts))
    assert wrong / total <= 0.08


def fsmn() -> tuple[AsrModels, Recogniser]:
    """The small real Mandarin model of the test recordings."""
    entry = ModelEntry(
        type="zipformer2_ctc",
        files={"tokens": "tokens.txt", "model": "model.onnx"},
        flush_ms=700,
        time_scale=0.75,
        time_shift_ms=-240,
    )
    return load(), Recogniser("fsmn", entry, SPEECH / "fsmn-ctc-zh")


def on_the_line(path: Path, gain: float) -> Int16:
    """A recording as a telephone leg carries it."""
    sound = wav.read(path, 8000)[0].astype(float) * gain
    return decode("pcmu", encode("pcmu", sound.astype(np.int16)))


def mandarin() -> list[tuple[Path, str]]:
    """Recordings of people speaking Mandarin, with what they say."""
    with (SPEECH / "wavs" / "transcripts.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [(SPEECH / "wavs" / r["file"], r["text"]) for r in rows if not r["text"].isascii()]


def characters(text: str) -> str:
    """A text without spaces and punctuation."""
    return "".join(c for c in text if c.isalnum())


@needs_recordings
@pytest.mark.parametrize("gain", [1.0, 0.5, 0.25])
def test_people_are_heard_about_as_well_as_by_decoding_whole_files(gain: float) -> None:
    registry, recogniser = fsmn()
    thresholds = thresholds_of(registry.detectors["people"], 500, "fsmn")
    ours = offline = total = 0
    recordings = mandarin()
    assert len(recordings) >= 6
    for path, text in recordings:
        sound = on_the_line(path, gain)
        stream = recogniser.stream()
        stream.feed(np.concatenate([sound, recogniser.padding(0)]))
        recogniser.decode([stream])
        whole = recogniser.text(stream)

        transcriber = Transcriber(shared(), lambda _: recogniser)
        slot = transcriber.add(0, 0, thresholds)
        transcriber.push(slot, sound)
        transcriber.finish(slot)
        heard = ""
        while transcriber.busy:
            heard += "".join(final.text for final in transcriber.step().finals)
        wanted = characters(text)
        total += len(wanted)
        ours += distance(characters(heard), wanted)
        offline += distance(characters(whole), wanted)
    assert offline / total < 0.6  # the comparison means something
    assert ours / total <= offline / total + 0.05
