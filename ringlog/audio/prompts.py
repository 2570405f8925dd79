"""Prompt audio, content-addressed: one WAV file per voice and text, made once."""

import hashlib
import os
import tempfile
from pathlib import Path

from ringlog.settings import Settings


def prompt_sha256(voice: str, text: str) -> str:
    """Name of a prompt's sound: SHA-256 in hex of voice, a newline, and text."""
    return hashlib.sha256(f"{voice}\n{text}".encode()).hexdigest()


def prompt_path(config: Settings, sha256: str) -> Path:
    """Where the sound of that name lies."""
    return config.prompts_dir / f"{sha256}.wav"


def synthesise(config: Settings, voice: str, text: str) -> Path:
    """Makes the prompt's file unless it is there: 8 kHz mono, 16 bits.

    The file appears whole or not at all, also when several processes make it. Raises EspeakError
    for an unknown voice.
    """
    from ringlog.audio import espeak, wav  # the voice library is not needed to name a prompt

    target = prompt_path(config, prompt_sha256(voice, text))
    if target.exists():
        return target
    samples = espeak.speak(text, voice, fix_readings=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".wav")
    try:
        with os.fdopen(handle, "wb") as file:
            wav.write(file, samples)
        os.chmod(unfinished, 0o644)
        os.replace(unfinished, target)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
    return target
