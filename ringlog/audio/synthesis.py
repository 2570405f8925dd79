"""A text in a voice: recordings, a model of sherpa-onnx, or espeak-ng; 8 kHz, evenly loud."""

import re
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from ringlog.audio import SAMPLE_RATE_HZ, espeak, wav
from ringlog.audio.g711 import Int16
from ringlog.audio.loudness import even
from ringlog.audio.voices import RecordedVoice, SherpaVoice, VoiceError, Voices

LONGEST_S = 120
"""A prompt or recording that is longer is a mistake."""


def say(voices: Voices, name: str, text: str) -> Int16:
    """int16 [n] at 8 kHz. Raises VoiceError, and VoicesError for a file of recordings."""
    entry = voices.voices.get(name)
    if entry is None:
        sound = _espeak(voices, name, text)
    elif isinstance(entry, RecordedVoice):
        sound = _recorded(voices, name, entry, text)
    else:
        sound = _modelled(voices, name, entry, text)
    if len(sound) > LONGEST_S * SAMPLE_RATE_HZ:
        raise VoiceError(f"voice {name!r}: {text[:20]!r} is longer than {LONGEST_S} s")
    return even(sound, SAMPLE_RATE_HZ)


def _espeak(voices: Voices, name: str, text: str) -> Int16:
    try:
        return espeak.speak(text, name, fix_readings=True)
    except espeak.EspeakError as error:
        known = ", ".join(sorted(voices.voices)) or "none"
        raise VoiceError(f"{error}; voices of the registry: {known}") from None


def _recorded(voices: Voices, name: str, entry: RecordedVoice, text: str) -> Int16:
    folder = voices.folder_of(name)
    file = recordings(folder).get(_plain(text))
    if file is None and entry.otherwise is not None:
        return say(voices, entry.otherwise, text)
    if file is None:
        raise VoiceError(
            f"voice {name!r} has no recording of {text!r}: add a line to {folder / 'texts.tsv'}, "
            "or name a voice for the rest (`otherwise`)"
        )
    return _read(name, folder / file)


def _read(name: str, path: Path) -> Int16:
    try:
        samples, _ = wav.read(path, SAMPLE_RATE_HZ)
    except (OSError, ValueError) as error:
        raise VoiceError(f"voice {name!r}: {error}") from None
    return samples if samples.ndim == 1 else samples[:, 0].copy()


def check_recordings(voices: Voices, name: str) -> int:
    """Reads every recording of a voice; how many there are. Raises VoiceError, VoicesError."""
    folder = voices.folder_of(name)
    files = recordings(folder).values()
    for file in files:
        if not len(_read(name, folder / file)):
            raise VoiceError(f"voice {name!r}: {folder / file} is empty")
    return len(files)


def recordings(folder: Path) -> dict[str, str]:
    """Files of a folder of recordings by what they say, without punctuation. Raises VoiceError."""
    index = folder / "texts.tsv"
    try:
        lines = index.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise VoiceError(f"{index}: {error}") from None
    found: dict[str, str] = {}
    for n, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        file, tab, text = line.partition("\t")
        if not tab or not text.strip():
            raise VoiceError(f"{index}, line {n}: needs a file, a tab and a text")
        if Path(file).is_absolute() or ".." in Path(file).parts:
            raise VoiceError(f"{index}, line {n}: the file must lie in the folder")
        found[_plain(text)] = file
    return found


def _plain(text: str) -> str:
    """A text as it is compared: neither width of letters nor punctuation makes a difference."""
    return re.sub(r"[^\w]", "", unicodedata.normalize("NFKC", text)).lower()


def _modelled(voices: Voices, name: str, entry: SherpaVoice, text: str) -> Int16:
    if missing := voices.missing(name):
        mend = f"`ringlog voices get {name}`" if entry.archive else "put it there"
        raise VoiceError(f"voice {name!r} lacks {missing[0]}: {mend}")
    import sherpa_onnx

    model = _model(entry.model_dump_json(), voices.folder_of(name))
    wanted = sherpa_onnx.GenerationConfig()
    wanted.sid, wanted.speed = entry.speaker, entry.speed
    if entry.phonemes is not None:
        try:
            phonemes = espeak.phonemes(text, entry.phonemes)
        except espeak.EspeakError as error:
            raise VoiceError(f"voice {name!r}: {error}") from None
        wanted.phoneme_codepoints = [[ord(sound) for sound in phonemes]]
    try:
        made = model.generate(text, wanted)
    except RuntimeError as error:
        raise VoiceError(f"voice {name!r} cannot say {text!r}: {error}") from None
    samples = np.asarray(made.samples, np.float32)
    if not len(samples):
        raise VoiceError(f"voice {name!r} says nothing for {text!r}")
    at_8khz = soxr.resample(samples, made.sample_rate, SAMPLE_RATE_HZ, quality="HQ")
    return np.asarray(np.clip(np.rint(at_8khz * 32767), -32768, 32767), np.int16)


@lru_cache(maxsize=2)
def _model(entry_json: str, folder: Path) -> Any:
    """A loaded model; two, since a playbook is often published in two voices."""
    import sherpa_onnx

    entry = SherpaVoice.model_validate_json(entry_json)
    config_of = getattr(sherpa_onnx, f"OfflineTts{entry.type.capitalize()}ModelConfig", None)
    if config_of is None:
        raise VoiceError(f"sherpa-onnx has no voices of type {entry.type!r}")
    files = {key: str(folder / file) for key, file in entry.files.items()}
    try:
        model = sherpa_onnx.OfflineTtsModelConfig(
            **{entry.type: config_of(**files, **entry.options)}
        )
        rules = ",".join(str(folder / file) for file in entry.rules)
        return sherpa_onnx.OfflineTts(sherpa_onnx.OfflineTtsConfig(model=model, rule_fsts=rules))
    except (RuntimeError, TypeError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise VoiceError(f"the model in {folder} does not load: {first}") from None
