"""A published neural voice says prompts, by the code that publishes them."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cli.voices import voices as command
from ringlog.audio import synthesis, wav
from ringlog.audio.loudness import TARGET_LUFS, loudness_lufs
from ringlog.audio.voices import load
from ringlog.settings import settings
from tests.peers import voice

pytestmark = pytest.mark.needs("piper-voice")

TEXT = "Good morning, this is the robot. How are you today?"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A site that has the voice."""
    (tmp_path / "voices.yaml").write_text(voice.SITE_VOICE, encoding="utf-8")
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "joe").symlink_to(voice.folder())
    return tmp_path


def test_a_neural_voice_says_a_prompt(home: Path) -> None:
    sound = synthesis.say(load(home), "joe", TEXT)
    assert 1.5 < len(sound) / 8_000 < 6
    assert loudness_lufs(sound, 8_000) == pytest.approx(TARGET_LUFS, abs=1.0)
    frames = np.abs(sound[: len(sound) // 160 * 160].reshape(-1, 160).astype(float)).mean(axis=1)
    assert 0.3 < (frames > frames.max() / 20).mean() < 0.98, "speech, with a pause in it"


def test_a_longer_text_takes_longer(home: Path) -> None:
    registry = load(home)
    short, long = (len(synthesis.say(registry, "joe", text)) for text in ("Good morning.", TEXT))
    assert long > 2 * short


def test_the_commands_work_with_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RINGLOG_HOME", str(home))
    settings.cache_clear()
    try:
        assert "installed" in CliRunner().invoke(command, ["list"]).output
        checked = CliRunner().invoke(command, ["check", "joe", TEXT])
        assert checked.exit_code == 0, checked.output
        out = tmp_path / "out.wav"
        assert CliRunner().invoke(command, ["say", "joe", TEXT, str(out)]).exit_code == 0
        assert wav.read(out)[1] == 8_000
    finally:
        settings.cache_clear()
