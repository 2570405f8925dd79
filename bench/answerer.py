"""Who answered, on a labelled set that is made here: synthetic speech, tones, noise, and recordings
of people where `../shared/speech` is.

Three ways: by the edge's timing and tones alone, as with a recogniser that knows none of the words;
with the words, as a recogniser without errors gives them `LAG_MS` after they were said; and with
the words of the small real model, as the ASR worker gives them, where `../shared/speech` is.

`python -m bench.answerer [--write-docs]`
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import soundfile  # type: ignore[import-untyped] # it ships no types
import soxr
from numpy.typing import NDArray

from bench.answerer_set import HELD_OUT, Opening
from bench.sound.far_end import records_of
from bench.sound.hearing import Hearing
from ingest.sound.answer import AnswerWatch
from ringlog.audio import espeak
from ringlog.audio.g711 import Int16, decode, encode
from ringlog.settings import root
from streams.robots.answerer import UNSURE, Judgement, opens, verdict_of

DOCUMENT: Final = root() / "docs" / "why" / "answerer.md"
MARK: Final = "<!-- made by `python -m bench.answerer --write-docs` -->"
LAG_MS: Final = 500
LISTEN_MS: Final = 12_000
"""How long after its end nothing more is said to an opening."""

NOISES_DB: Final = (-70, -50, -42)
"""Line noise, dBFS; speech is at -20."""

VOICES: Final = {
    "zh": ("cmn-latn-pinyin", "cmn-latn-pinyin+f3", "cmn-latn-pinyin+m4"),
    "en": ("en-us", "en-us+f3", "en-us+m3"),
}
OTHER_VOICES: Final = {
    "zh": ("cmn-latn-pinyin+f1", "cmn-latn-pinyin+m1", "cmn-latn-pinyin+m6"),
    "en": ("en-us+f1", "en-us+m1", "en-us+m2"),
}
"""Of the held-out set; no rule was tried with them."""

EARLY_MS: Final = 2_000
Words = Callable[["Sample", int], str]
"""What has been recognised of a sample by then, ms from the answer."""

Sound = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """One opening as a telephone line gives it: mu-law sound and when each part was said."""

    opening: Opening
    sound: Int16
    said_ms: tuple[int, int]
    beep_ms: int | None


def no_words(sample: Sample, at_ms: int) -> str:
    """A recogniser that knows none of them."""
    return ""


def all_words(sample: Sample, at_ms: int) -> str:
    """What a recogniser without errors has given by then."""
    begin, end = sample.said_ms
    share = (at_ms - LAG_MS - begin) / max(end - begin, 1)
    text = sample.opening.text
    return text[: max(0, min(len(text), int(share * len(text))))]


def tone(hz: float, ms: int, db: float = -20.0) -> Sound:
    """A sine of `db` dBFS (RMS)."""
    t = np.arange(ms * 8) / 8000
    return np.asarray(np.sin(2 * np.pi * hz * t) * 32768 * 10 ** (db / 20) * np.sqrt(2))


def _spoken(text: str, voice: str, speed: int) -> Sound:
    sound = espeak.speak(text, voice, speed, fix_readings="cmn" in voice).astype(np.float64)
    loud = np.flatnonzero(np.abs(sound) > 300)
    sound = sound[loud[0] : loud[-1] + 1]
    return np.asarray(sound / np.sqrt(np.mean(sound**2)) * 3277)


def samples(
    openings: Sequence[Opening], voices: Mapping[str, tuple[str, ...]], seed: int, every: int = 1
) -> Iterator[Sample]:
    """Every opening by every voice over every noise; of them each `every`-th."""
    random = np.random.default_rng(seed)
    n = 0
    for opening in openings:
        for voice in voices[opening.language]:
            speed = int(random.integers(150, 205))
            for noise_db in NOISES_DB:
                before = int(random.integers(150, 800))
                n += 1
                if n % every == 0:
                    yield _sample(opening, _spoken(opening.text, voice, speed), before, noise_db,
                                  random)  # fmt: skip


def _sample(
    opening: Opening, speech: Sound, before_ms: int, noise_db: float, random: np.random.Generator
) -> Sample:
    parts = [np.zeros(before_ms * 8), speech]
    end_ms = before_ms + len(speech) // 8
    beep_ms = None
    if opening.beep_hz:
        gap = int(random.integers(300, 900))
        beep_ms = end_ms + gap
        parts += [np.zeros(gap * 8), tone(opening.beep_hz, int(random.integers(200, 900)))]
    parts.append(np.zeros(LISTEN_MS * 8))
    sound = np.concatenate(parts)
    sound += random.normal(0, 32768 * 10 ** (noise_db / 20), len(sound))
    heard = decode("pcmu", encode("pcmu", np.clip(sound, -32768, 32767).astype(np.int16)))
    return Sample(opening, heard, (before_ms, end_ms), beep_ms)


def recorded(seed: int) -> Iterator[Sample]:
    """People's recordings, as persons who answer with a whole sentence."""
    folder = root().parent / "shared" / "speech" / "wavs"
    random = np.random.default_rng(seed)
    for path in sorted(folder.glob("*.wav")) if folder.is_dir() else ():
        read, rate = soundfile.read(path)
        sound = soxr.resample(np.asarray(read, np.float64), rate, 8000)
        sound = sound[: 8 * 2_500]  # the first 2.5 s: nobody answers with a paragraph
        sound = sound / np.sqrt(np.mean(sound**2)) * 3277
        yield _sample(Opening("human", "zh", ""), sound, 400, -60, random)


@dataclass(frozen=True)
class Told:
    """What was made of a sample: when the gate opened, when that was settled, and the beeps."""

    gate: Judgement
    gate_ms: int
    last: Judgement
    early: Judgement
    """After `EARLY_MS`."""
    settled_ms: int
    beeps: tuple[int, ...]
    first_ms: int
    """When the edge told the first thing."""


def judge(sample: Sample, words: Words) -> Told:
    """Feeds a sample as the edge would, and decides as the robot does."""
    watch = AnswerWatch()
    names: list[str] = []
    beeps: list[int] = []
    gate, last, early = None, UNSURE, UNSURE
    gate_ms = settled_ms = first_ms = 0
    for n in range(len(sample.sound) // 160):
        for heard in watch.push(sample.sound[n * 160 : n * 160 + 160]):
            names.append(heard.name)
            first_ms = first_ms or heard.at_ms
            if heard.name in ("beep", "ringback"):
                beeps.append(heard.at_ms)
        found = verdict_of(names, words(sample, watch.at_ms))
        if found != last and last.who in ("unsure", "human", "recording"):
            last, settled_ms = found, watch.at_ms
        if watch.at_ms == EARLY_MS:
            early = last
        if gate is None and opens(names, last, watch.at_ms):
            gate, gate_ms = last, watch.at_ms
    return Told(gate or last, gate_ms, last, early, settled_ms, tuple(beeps), first_ms)


def table(title: str, made: Sequence[Sample], by: str, words: Words) -> list[str]:
    """Rows of a Markdown table over samples. `by`: what the words are called."""
    rows = []
    told = [(s, judge(s, words)) for s in made]
    for who in ("human", "machine", "screening", "announcement"):
        of = [t for s, t in told if s.opening.who == who]
        if not of:
            continue
        right = [t for t in of if _is_right(t, who, words is not no_words)]
        wrong = [t for t in of if _taken(t.last) != (who == "human")]
        early = [t for t in of if t.early.who != "unsure" and _taken(t.early) == (who == "human")]
        false = [t for t in of if t.early.who != "unsure" and _taken(t.early) != (who == "human")]
        settled = np.percentile([t.settled_ms for t in right] or [0], [50, 95])
        opened = [t.gate_ms for t in of if t.gate_ms]
        gate = np.percentile(opened or [0], [50, 95])
        speaks = f"{_share(opened, of)}: {gate[0]:.0f} / {gate[1]:.0f}"
        rows.append(
            f"| {title} | {by} | {who} | {len(of)} | {_share(early, of)} | {_share(false, of)} "
            f"| {_share(right, of)} | {_share(wrong, of)} "
            f"| {settled[0]:.0f} / {settled[1]:.0f} | {speaks} |"
        )
    return rows


def _share(some: Sequence[object], of: Sequence[object]) -> str:
    return f"{100 * len(some) / len(of):.0f} %"


def _taken(verdict: Judgement) -> bool:
    """Whether the robot speaks to it as to a person."""
    return verdict.who in ("human", "unsure")


def _is_right(told: Told, who: str, with_words: bool) -> bool:
    if who == "human":
        return told.last.who in ("human", "unsure")  # unsure: the robot speaks
    if with_words:
        return told.last.who == who
    return told.last.who not in ("human", "unsure")  # sound alone cannot tell what kind


def beeps(made: Sequence[Sample]) -> list[str]:
    """Figures on beeps, as sentences."""
    told = [(s, judge(s, no_words)) for s in made]
    at = [(s.beep_ms, t.beeps) for s, t in told if s.beep_ms is not None]
    late = [min(b - begun for b in found if b >= begun) for begun, found in at
            if any(b >= begun for b in found)]  # fmt: skip
    early = sum(any(b < begun for b in found) for begun, found in at)
    none = [t for s, t in told if s.beep_ms is None]
    median, p95 = np.percentile(late or [0], [50, 95])
    return [
        f"Beeps told: {len(late)} of {len(at)}, {median:.0f} ms after their beginning in the "
        f"median, {p95:.0f} ms at the 95th percentile; {early} told before there was one.",
        f"Openings without a beep: {len(none)}; a beep was told in "
        f"{sum(bool(t.beeps) for t in none)}. The first thing was told after "
        f"{max(t.first_ms for _, t in told)} ms at the latest.",
    ]


def real_words(made: Sequence[Sample]) -> Words:
    """What the small real model gives, through the ASR worker; raises Skipped without its files."""
    heard = Hearing().partials([records_of(s.sound, str(n), "fsmn") for n, s in enumerate(made)])
    given = {id(s): texts for s, texts in zip(made, heard, strict=True)}

    def words(sample: Sample, at_ms: int) -> str:
        return next((text for ms, text in reversed(given[id(sample)]) if ms <= at_ms), "")

    return words


def report() -> str:
    """The figures, as Markdown."""
    made = list(samples(HELD_OUT, OTHER_VOICES, 2))
    people = list(recorded(3))
    out = [
        "| set | evidence | who | samples | known after 2 s | wrong after 2 s | right in the end "
        "| a person taken for none, or the reverse "
        "| right ones settled after, p50 / p95 ms | first prompt said to, after p50 / p95 ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *table("synthetic", made, "sound", no_words),
        *table("synthetic", made, "words", all_words),
    ]
    if people:
        chinese = [s for s in made if s.opening.language == "zh"]
        out += table("synthetic, Mandarin", chinese, "real model", real_words(chinese))
        out += table("recordings", people, "sound", no_words)
        out += table("recordings", people, "real model", real_words(people))
    return "\n".join([*out, "", *beeps(made)]) + "\n"


def main() -> None:
    """Prints the figures; with `--write-docs`, also into the page."""
    text = report()
    print(text)
    if "--write-docs" in sys.argv[1:]:
        page = DOCUMENT.read_text(encoding="utf-8")
        head, _, rest = page.partition(MARK)
        tail = rest.partition(MARK)[2]
        DOCUMENT.write_text(f"{head}{MARK}\n\n{text}\n{MARK}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
