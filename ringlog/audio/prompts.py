"""Prompt audio, content-addressed: one WAV file per voice and text, made once."""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ringlog.settings import Settings


def prompt_sha256(voice: str, text: str) -> str:
    """Name of a prompt's sound: SHA-256 in hexadecimal of voice, a newline, and text."""
    return hashlib.sha256(f"{voice}\n{text}".encode()).hexdigest()


def prompt_path(config: Settings, sha256: str) -> Path:
    """Path of the sound of that name."""
    return config.prompts_dir / f"{sha256}.wav"


def synthesise(config: Settings, voice: str, text: str) -> Path:
    """Makes the prompt's file unless it is there: 8 kHz mono, 16 bits.

    The file appears whole or not at all, also when several processes make it. Raises VoiceError,
    and VoicesError for the voices file.
    """
    from ringlog.audio import synthesis, voices, wav  # not needed to name a prompt

    target = prompt_path(config, prompt_sha256(voice, text))
    if target.exists():
        return target
    samples = synthesis.say(voices.load(config.home), voice, text)
    with _appearing_whole(target) as file:
        wav.write(file, samples)
    return target


def index_prompts(config: Settings, entries: Mapping[str, Mapping[str, str]]) -> None:
    """Adds to `index.json` what each sound is: sha256 -> playbook, prompt, wording, voice, text.

    For people and programs that want to know which file says what; the product does not read it.
    """
    target = config.prompts_dir / "index.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / ".index.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
        if all(known.get(sha) == entry for sha, entry in entries.items()):
            return
        text = json.dumps(known | dict(entries), ensure_ascii=False, indent=1)
        with _appearing_whole(target) as file:
            file.write(text.encode())


@contextmanager
def _appearing_whole(target: Path) -> Iterator[BinaryIO]:
    """A file that is there complete or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=target.suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(unfinished, 0o644)
        os.replace(unfinished, target)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
