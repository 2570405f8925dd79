"""Synthetic speech by espeak-ng, loaded from the `espeakng-loader` wheel.

libespeak-ng keeps its state in globals, so one lock serialises all callers of the process. Some of
that state (pitch flutter, wave phase) outlives even espeak_Terminate, therefore the library is
unloaded after every utterance: the same arguments always give the same samples, at about 4 ms each.
Use the Mandarin voice `cmn-latn-pinyin`, which reads Chinese characters; a variant such as `+f3`
changes the speaker.
"""

import _ctypes
import ctypes
import re
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from ringlog.audio import SAMPLE_RATE_HZ
from ringlog.audio.g711 import Int16

DEFAULT_VOICE = "cmn-latn-pinyin"

# Constants of espeak-ng's speak_lib.h.
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: samples come by the callback within espeak_Synth
_DONT_EXIT = 0x8000
_UTF8 = 1
_IPA = 2
_RATE, _VOLUME, _PITCH, _RANGE, _WORD_GAP = 1, 2, 3, 4, 7
_SEED = 1
_CLAUSE_MARKS = {"，": ",", "。": ".", "？": "?", "！": "!", "；": ";", "：": ":", "、": ","}
_CLAUSE = re.compile(r"(.+?)([，。？！；：、]|[,.?!;:](?=\s|$)|$)", re.DOTALL)
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class EspeakError(RuntimeError):
    """espeak-ng refused a voice, a parameter or a text."""


class _Engine:
    """A freshly loaded library, good for one utterance; use only under `_lock`."""

    def __init__(self) -> None:
        import espeakng_loader

        self._library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        self._library.espeak_Synth.argtypes = (
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint,
            ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
        )  # fmt: skip
        data = espeakng_loader.get_data_path().encode()
        rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, _DONT_EXIT))
        if rate <= 0:
            raise EspeakError(f"espeak-ng does not start with the data in {data.decode()}")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))  # it begins with the time of day
        self.rate_hz = rate
        self._chunks: list[Int16] = []
        self._callback: Callable[..., int] = _Callback(self._collect)  # kept alive for C
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: Any, count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def speak(self, text: str, voice: str, speed: int, pitch: int, word_gap: int) -> Int16:
        """int16 [n] at `rate_hz`."""
        library = self._library
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise EspeakError(f"espeak-ng has no voice {voice!r}")
        for parameter, value in (
            (_RATE, speed), (_VOLUME, 100), (_PITCH, pitch), (_RANGE, 50), (_WORD_GAP, word_gap),
        ):  # fmt: skip
            if library.espeak_SetParameter(parameter, value, 0) != 0:
                raise EspeakError(f"espeak-ng refuses {value} for parameter {parameter}")
        self._chunks = []
        raw = text.encode()
        if library.espeak_Synth(raw, len(raw) + 1, 0, 1, 0, _UTF8, None, None) != 0:
            raise EspeakError("espeak-ng refuses the text")
        library.espeak_Synchronize()
        return np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.int16)

    def phonemes(self, text: str, voice: str) -> str:
        """IPA of a text, clause by clause, each with the punctuation that ends it."""
        library = self._library
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise EspeakError(f"espeak-ng has no voice {voice!r}")
        translate = library.espeak_TextToPhonemes
        translate.restype = ctypes.c_char_p
        translate.argtypes = (ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int)
        clauses: list[str] = []
        for clause, mark in _CLAUSE.findall(text):
            left = ctypes.c_char_p(clause.strip().encode())
            sounds = ""
            while left.value:
                sounds += (translate(ctypes.byref(left), _UTF8, _IPA) or b"").decode() + " "
            clauses.append(sounds.strip() + _CLAUSE_MARKS.get(mark, mark))
        return " ".join(clauses)

    def close(self) -> None:
        """Unload the library and with it all its state."""
        self._library.espeak_Terminate()
        _ctypes.dlclose(self._library._handle)


_lock = threading.Lock()


@lru_cache(maxsize=1)
def _readings() -> tuple[tuple[str, str], ...]:
    lines = Path(__file__).with_name("pronunciation.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split(maxsplit=1) for line in lines if line.strip() and line[0] != "#"]
    return tuple(sorted(((word, pinyin) for word, pinyin in pairs), key=lambda p: -len(p[0])))


def with_readings(text: str) -> str:
    """The text with words that espeak-ng misreads replaced by pinyin."""
    for word, pinyin in _readings():
        text = text.replace(word, f" {pinyin} ")
    return text


def speak(
    text: str,
    voice: str = DEFAULT_VOICE,
    speed: int = 175,
    pitch: int = 50,
    *,
    word_gap: int = 0,
    fix_readings: bool = False,
    rate_hz: int = SAMPLE_RATE_HZ,
) -> Int16:
    """Speak a text: int16 [n] at `rate_hz`, mono, with espeak-ng's own pauses at its ends.

    `speed` is in words a minute (80 to 450), `pitch` 0 to 99, `word_gap` in units of 10 ms.
    `fix_readings` corrects known misreadings of Mandarin (`pronunciation.txt`). Thread-safe.
    Raises EspeakError for an unknown voice and ValueError for a value out of range.
    """
    if not 80 <= speed <= 450 or not 0 <= pitch <= 99:
        raise ValueError(f"speed {speed} is not in 80..450 or pitch {pitch} not in 0..99")
    if fix_readings:
        text = with_readings(text)
    with _lock:
        engine = _Engine()
        try:
            samples = engine.speak(text, voice, speed, pitch, word_gap)
        finally:
            engine.close()
        engine_rate_hz = engine.rate_hz
    if rate_hz != engine_rate_hz and len(samples):
        samples = soxr.resample(samples, engine_rate_hz, rate_hz, quality="HQ")
    return np.asarray(samples, np.int16)


def phonemes(text: str, voice: str) -> str:
    """The text in the International Phonetic Alphabet, as Piper's models take it. Thread-safe.

    Raises EspeakError for an unknown voice.
    """
    with _lock:
        engine = _Engine()
        try:
            return engine.phonemes(text, voice)
        finally:
            engine.close()
