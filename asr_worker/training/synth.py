"""Speaks the corpus with espeak-ng and stores it: `python -m asr_worker.training.synth WORKDIR`.

Writes train.npz, a test_*.npz for each test set, and tokens.txt. Repeatable byte for byte with
one version of espeak-ng.
"""

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from asr_worker.training import corpus
from asr_worker.training.corpus import Random, Words
from asr_worker.training.speech import Utterance, save
from ringlog.audio import espeak
from ringlog.audio.g711 import Int16

SEED = 20240602
MAIN_VOICES = [
    "",
    *["m1", "m2", "m3", "m5", "m6", "m7", "f1", "f2", "f4", "klatt", "klatt2", "klatt4", "klatt6"],
]
OTHER_VOICES = [
    "Alex",
    "Alicia",
    "Andy",
    "Annie",
    "AnxiousAndy",
    "Denis",
    "Diogo",
    "Gene",
    "Henrique",
    "Hugo",
    "Jacky",
    "Lee",
    "Marco",
    "Mike",
    "Nguyen",
    "RicishayMax2",
    "Storm",
    "adam",
    "anika",
    "antonio",
    "aunty",
    "belinda",
    "benjamin",
    "boris",
    "caleb",
    "david",
    "ed",
    "edward",
    "grandma",
    "gustave",
    "iven",
    "iven2",
    "iven4",
    "john",
    "kaukovalta",
    "linda",
    "marcelo",
    "max",
    "michel",
    "norbert",
    "pablo",
    "paul",
    "pedro",
    "quincy",
    "rob",
    "robert",
    "sandro",
    "shelby",
    "steph",
    "travis",
    "zac",
]
TRAIN_VOICES = MAIN_VOICES * 3 + OTHER_VOICES
HELDOUT_VOICES = [
    "m4",
    "m8",
    "f3",
    "f5",
    "klatt3",
    "klatt5",
    "Andrea",
    "Michael",
    "Mario",
    "steph2",
    "grandpa",
    "victor",
    "miguel",
]
TRAINING_COUNTS = {
    "customer": 26, "robot": 24, "english_line": 24, "template": 2500, "topic": 2500,
    "salad": 1500, "splice": 3500, "walk": 3500, "english": 1200,
}  # fmt: skip
READINGS_FIXED = 0.65
"""Share of sentences spoken with the corrected readings: the model is to know both."""


def trimmed(samples: Int16) -> Int16:
    """Speech without the silence around it, its peak at 0.7 of full scale."""
    level = np.abs(samples.astype(np.float32))
    loud = np.flatnonzero(level > 0.01 * level.max())
    cut = samples[max(0, loud[0] - 160) : loud[-1] + 320].astype(np.float32)
    return np.asarray(np.rint(cut * (0.7 * 32767 / np.abs(cut).max())), np.int16)


def say(random: Random, words: Words, voices: Sequence[str], speed: tuple[int, int]) -> Utterance:
    """Speak a sentence with a drawn voice, speed and pitch."""
    english = corpus.is_english(words)
    low, high = (120, 210) if english else speed
    fix = bool(random.random() < READINGS_FIXED)
    voice = str(random.choice(voices))
    name = ("en-us" if english else espeak.DEFAULT_VOICE) + (f"+{voice}" if voice else "")
    samples = espeak.speak(
        corpus.spoken(words, fix),
        name,
        int(random.integers(low, high + 1)),
        int(random.integers(15, 96)),
        word_gap=int(random.choice([0, 0, 1, 3])),
    )
    ids = {token: i for i, token in enumerate(corpus.vocabulary())}
    tokens = tuple(ids[token] for token in corpus.tokens_of(words))
    return Utterance(trimmed(samples), tokens, corpus.text_of(words), voice)


def speak_all(
    random: Random,
    texts: Sequence[Words],
    voices: Sequence[str],
    speed: tuple[int, int] = (150, 340),
) -> list[Utterance]:
    """Speak sentences one after the other."""
    return [say(random, words, voices, speed) for words in texts]


def test_sets(random: Random) -> dict[str, list[Utterance]]:
    """The sets that errors are measured on; held-out voices and sentences are never trained on."""
    lines, new = corpus.CUSTOMER + corpus.ROBOT, corpus.HELDOUT_ZH
    numbers = [corpus.GENERATORS["template"](random) for _ in range(200)]
    unseen = HELDOUT_VOICES
    return {
        "demo_seen_voices": speak_all(random, lines, TRAIN_VOICES),
        "demo_new_voices": speak_all(random, lines * 2, unseen),
        "demo_slower_than_training": speak_all(random, lines, unseen, (125, 148)),
        "demo_faster_than_training": speak_all(random, lines, unseen, (345, 380)),
        "new_sentences_seen_voices": speak_all(random, new * 4, TRAIN_VOICES),
        "new_sentences_new_voices": speak_all(random, new * 4, unseen),
        "numbers_dates_new_voices": speak_all(random, numbers, unseen),
        "english_new_voices": speak_all(random, corpus.ENGLISH * 2, unseen),
        "english_new_sentences_new_voices": speak_all(random, corpus.HELDOUT_EN * 6, unseen),
    }


def write_tokens(path: Path) -> None:
    """tokens.txt as sherpa-onnx reads it."""
    lines = [f"{token} {i}\n" for i, token in enumerate(corpus.vocabulary())]
    path.write_text("".join(lines), encoding="utf-8")


@click.command()
@click.argument("work", type=click.Path(path_type=Path))
@click.option("--tests-only", is_flag=True, help="Leave the training set out")
def main(work: Path, tests_only: bool) -> None:
    """Write the sets into WORK."""
    work.mkdir(parents=True, exist_ok=True)
    write_tokens(work / "tokens.txt")
    if not tests_only:
        random = np.random.default_rng(SEED)
        texts = corpus.training_texts(random, TRAINING_COUNTS)
        save(work / "train.npz", speak_all(random, texts, TRAIN_VOICES))
    for name, utterances in test_sets(np.random.default_rng(SEED + 1)).items():
        save(work / f"test_{name}.npz", utterances)
        click.echo(f"{name}: {len(utterances)} utterances")


if __name__ == "__main__":
    main()
