"""Which voice says a prompt: the registry, recordings, and what is said when one cannot."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cli.voices import voices as command
from ringlog.audio import espeak, synthesis, wav
from ringlog.audio.loudness import TARGET_LUFS, loudness_lufs
from ringlog.audio.prompts import synthesise
from ringlog.audio.voices import VoiceError, VoicesError, load
from ringlog.settings import Settings, settings

STUDIO = """
voices:
  lin:
    engine: recordings
    folder: lin
    otherwise: cmn-latn-pinyin+f3
  strict: {engine: recordings, folder: lin}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A site with a voice of recordings: one sentence at 16 kHz, in stereo and quiet."""
    (tmp_path / "voices.yaml").write_text(STUDIO, encoding="utf-8")
    folder = tmp_path / "lin"
    folder.mkdir()
    times = np.arange(16_000) / 16_000
    tone = np.asarray(np.sin(2 * np.pi * 300 * times) * 1_000, np.int16)
    wav.write(folder / "hello.wav", np.stack([tone, np.zeros_like(tone)], axis=1), 16_000)
    (folder / "texts.tsv").write_text("# ours\nhello.wav\t您好，我是小铃。\n", encoding="utf-8")
    return tmp_path


def test_a_recording_is_found_whatever_its_punctuation(home: Path) -> None:
    sound = synthesis.say(load(home), "strict", "您好!我是小铃")
    assert len(sound) == 8_000
    assert loudness_lufs(sound, 8_000) == pytest.approx(TARGET_LUFS, abs=0.2)


def test_the_rest_is_spoken_by_the_other_voice(home: Path) -> None:
    said = synthesis.say(load(home), "lin", "请稍等")
    assert np.array_equal(said, synthesis.say(load(home), "cmn-latn-pinyin+f3", "请稍等"))


def test_without_another_voice_the_missing_recording_is_named(home: Path) -> None:
    with pytest.raises(VoiceError, match=r"no recording of '请稍等'.*texts\.tsv"):
        synthesis.say(load(home), "strict", "请稍等")


@pytest.mark.parametrize(
    ("index", "fault"),
    [
        ("hello.wav 您好", "line 1: needs a file, a tab"),
        ("../../etc/passwd\t您好", "must lie in the folder"),
        ("/etc/passwd\t您好", "must lie in the folder"),
        ("hello.wav\t", "needs a file, a tab"),
    ],
)
def test_a_faulty_index_names_its_line(home: Path, index: str, fault: str) -> None:
    (home / "lin" / "texts.tsv").write_text(index, encoding="utf-8")
    with pytest.raises(VoiceError, match=fault):
        synthesis.say(load(home), "strict", "您好")


def test_a_file_that_is_no_sound_is_an_error_of_the_voice(home: Path) -> None:
    (home / "lin" / "hello.wav").write_bytes(b"not sound")
    with pytest.raises(VoiceError, match="no WAV file"):
        synthesis.say(load(home), "strict", "您好我是小铃")
    with pytest.raises(VoiceError, match="no WAV file"):
        synthesis.check_recordings(load(home), "strict")


def test_a_model_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(VoiceError, match="ringlog voices get zh-melo"):
        synthesis.say(load(tmp_path), "zh-melo", "您好")


def test_an_unknown_name_lists_those_of_the_registry(tmp_path: Path) -> None:
    with pytest.raises(VoiceError, match=r"no voice 'nobody'.*zh-melo"):
        synthesis.say(load(tmp_path), "nobody", "您好")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("voices: 5", "needs a section"),
        ("voices: {a: {engine: tape}}", "voices.a"),
        ("voices: {a: {engine: recordings}}", "folder"),
        ("voices: {a: {engine: sherpa, type: vits, files: {}, speed: 9}}", "speed"),
        ("{", "while parsing"),
    ],
)
def test_a_faulty_registry_names_file_and_field(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "voices.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(VoicesError, match=rf"(?s)voices\.yaml.*{fault}"):
        load(tmp_path)


def test_a_prompt_takes_the_site_s_voice(home: Path) -> None:
    samples, rate_hz = wav.read(synthesise(Settings(home=home), "strict", "您好，我是小铃。"))
    assert (rate_hz, len(samples)) == (8_000, 8_000)


def test_phonemes_keep_the_punctuation() -> None:
    said = espeak.phonemes("Good morning, this is 3.14. How are you?", "en-us")
    assert [mark for mark in said if mark in ",.?"] == [",", ".", "?"]
    assert espeak.phonemes("", "en-us") == ""


def test_the_command_lists_checks_and_says(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RINGLOG_HOME", str(home))
    settings.cache_clear()
    try:
        listed = CliRunner().invoke(command, ["list"]).output
        assert "lin" in listed and "get it: 167 MB" in listed
        assert "recordings        1" in CliRunner().invoke(command, ["check", "lin"]).output
        checked = CliRunner().invoke(command, ["check", "cmn-latn-pinyin"])
        assert checked.exit_code == 0 and "LUFS" in checked.output
        out = tmp_path / "out.wav"
        assert CliRunner().invoke(command, ["say", "lin", "您好", str(out)]).exit_code == 0
        assert len(wav.read(out)[0]) > 800
        failed = CliRunner().invoke(command, ["say", "nobody", "您好", str(out)])
        assert failed.exit_code == 1 and "no voice" in failed.output
    finally:
        settings.cache_clear()
