"""The registry and the recogniser: what is refused, and that batches and upsampling are exact."""

from pathlib import Path

import numpy as np
import pytest
import sherpa_onnx
from structlog.testing import capture_logs

from asr_worker.__main__ import _Substitutions
from asr_worker.core import Core
from asr_worker.detector import shared
from asr_worker.recogniser import DefaultUnusable, Recogniser, Recognisers
from asr_worker.trial import trial_of
from asr_worker.upsample import REACH, Upsampler
from ringlog.asr_models import SHIPPED_MODELS, AsrModelsError, load
from ringlog.audio.g711 import Int16, to_float
from ringlog.metrics import ASR_PROFILES_SUBSTITUTED
from tests.unit.asr_worker.material import SENTENCES, VOICES, chunks, recognisers, utterance


def site(home: Path, text: str) -> Path:
    """A home folder with a site's own registry."""
    (home / "asr-models.yaml").write_text(text, encoding="utf-8")
    return home


def test_the_shipped_registry_serves_the_demo() -> None:
    registry = load()
    assert recognisers().resolve("demo") == "demo"
    assert recognisers().resolve("nonesuch") == "demo"
    assert registry.missing("demo") == []
    for name, entry in registry.models.items():
        assert entry.licence, name
        assert entry.folder or entry.archive, name


def test_a_site_adds_and_replaces_entries(tmp_path: Path) -> None:
    home = site(
        tmp_path,
        """
profiles:
  loans: {model: demo, detector: people}
models:
  own: {type: paraformer, flush_ms: 700,
        files: {tokens: t.txt, encoder: e.onnx, decoder: d.onnx}}
""",
    )
    registry = load(home)
    assert Recognisers(registry).resolve("loans") == "loans"
    assert registry.profiles["demo"].model == "demo"
    assert registry.folder_of("own") == home / "models" / "own"
    assert len(registry.missing("own")) == 3
    own = registry.profiles["loans"].model_copy(update={"model": "own"})
    with pytest.raises(DefaultUnusable, match="profile 'x', the site's default.*its files"):
        Recognisers(registry.model_copy(update={"profiles": {"x": own}, "default": "x"}))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("profiles: {x: {model: none, detector: fast}}", "unknown model 'none'"),
        ("profiles: {x: {model: demo, detector: none}}", "unknown detector"),
        ("default: none", "'none' is no profile"),
        ("models: {x: {type: y}}", "models.x.files"),
        ("detectors: {x: {speech_from: 2, silence_below: 0.3, pre_roll_ms: 1}}", "speech_from"),
        ("surprise: 1", "surprise"),
        ("just text", "not a mapping"),
        ("a: [", "asr-models.yaml"),
    ],
)
def test_a_wrong_registry_names_what_is_wrong(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(AsrModelsError, match=why):
        load(site(tmp_path, text))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"type": "nonesuch"}, "no online type"),
        ({"options": {"surprise": 1}}, "knows no surprise"),
        ({"files": {"tokens": "tokens.txt"}}, "needs model"),
    ],
)
def test_a_wrong_model_entry_is_refused_before_it_is_loaded(
    change: dict[str, object], why: str
) -> None:
    entry = load().model("demo").model_copy(update=change)
    with pytest.raises(AsrModelsError, match=why):
        Recogniser("x", entry, SHIPPED_MODELS / "demo")


def test_profiles_of_one_model_share_it(tmp_path: Path) -> None:
    home = site(tmp_path, "profiles: {loans: {model: demo, detector: people}}")
    pool = Recognisers(load(home))
    assert pool.get("loans") is pool.get("demo")


def test_upsampling_equals_sherpas_own_for_any_pieces() -> None:
    sound = to_float(utterance("价格太高了", "+f3"))
    direct = sherpa_onnx.OnlineRecognizer.from_zipformer2_ctc(
        tokens=str(SHIPPED_MODELS / "demo" / "tokens.txt"),
        model=str(SHIPPED_MODELS / "demo" / "model.onnx"),
    )
    theirs, ours = direct.create_stream(), direct.create_stream()
    theirs.accept_waveform(8000, sound)
    up = Upsampler()
    pieces = [up.feed(sound[at : at + 333]) for at in range(0, len(sound), 333)]
    ours.accept_waveform(16_000, np.concatenate(pieces))
    frames = len(sound) // 80 - 4
    a, b = (np.reshape(s.get_frames(0, frames), (frames, 80)) for s in (theirs, ours))
    assert np.abs(a - b)[:, :60].max() < 0.01  # bins below 4 kHz, in natural logarithms
    whole = Upsampler().feed(sound)
    assert np.array_equal(whole, np.concatenate(pieces))
    assert len(whole) == 2 * (len(sound) - REACH)


def test_batches_change_nothing() -> None:
    recogniser = recognisers().get("demo")
    sounds: list[Int16] = [
        utterance(text, VOICES[k % 6]) for k, text in enumerate(SENTENCES)
    ]  # fmt: skip

    def heard(batch: int) -> list[object]:
        streams = [recogniser.stream() for _ in sounds]
        for at in range(0, max(map(len, sounds)) + 8000, 1536):
            for i in range(0, len(streams), batch):
                for stream, sound in zip(
                    streams[i : i + batch], sounds[i : i + batch], strict=True
                ):
                    piece = sound[at : at + 1536]
                    stream.feed(np.pad(piece, (0, 1536 - len(piece))))
                recogniser.decode(streams[i : i + batch])
        return [recogniser.result(stream) for stream in streams]

    assert heard(1) == heard(5) == heard(len(sounds))


def test_padding_is_what_the_silence_lacks() -> None:
    recogniser = recognisers().get("demo")  # flush_ms 600
    assert len(recogniser.padding(500 * 8)) == 200 * 8
    assert len(recogniser.padding(800 * 8)) == 100 * 8
    assert len(recogniser.padding(0)) == 700 * 8


WRONG_PROFILES = """
default: mine
models:
  broken: {type: zipformer2_ctc, flush_ms: 600, files: {tokens: tokens.txt, model: model.onnx}}
  unknown: {type: nonesuch, folder: demo, flush_ms: 600,
            files: {tokens: tokens.txt, model: model.onnx}}
profiles:
  mine: {model: demo, detector: people}
  broken: {model: broken, detector: fast}
  fatal: {model: demo, detector: fast, options: {decoding_method: nonesuch}}
  absent: {model: zh-14m, detector: fast}
  surprise: {model: demo, detector: fast, options: {surprise: 1}}
  unknown: {model: unknown, detector: fast}
"""


def test_every_profile_is_tried_at_start_and_one_that_is_wrong_is_named_and_left_out(
    tmp_path: Path,
) -> None:
    """Also one whose options make sherpa-onnx end the process."""
    home = site(tmp_path, WRONG_PROFILES)
    (home / "models" / "broken").mkdir(parents=True)
    (home / "models" / "broken" / "tokens.txt").write_text("<blk> 0\n")
    (home / "models" / "broken" / "model.onnx").write_bytes(b"no model at all")
    registry = load(home)
    pool = Recognisers(registry, "", trial_of(registry, home))
    assert pool.left_out.keys() == {"broken", "fatal", "absent", "surprise", "unknown", "zh"}
    assert "knows no surprise" in pool.left_out["surprise"]
    assert "no online type 'nonesuch'" in pool.left_out["unknown"]
    assert "ringlog models get zh-14m" in pool.left_out["absent"]
    assert all(pool.left_out.values())
    for profile in ("broken", "fatal", "nonesuch"):
        assert pool.resolve(profile) == "mine"  # the site's default, not the demo's
        assert pool.get(profile) is pool.get("mine")
    assert Recognisers(registry, "demo", trial_of(registry, home)).resolve("broken") == "demo"


def test_nothing_is_loaded_while_calls_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Recognisers(load())

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("loads a model")

    monkeypatch.setattr("asr_worker.recogniser.Recogniser", fail)
    for profile in ("demo", "zh", "nonesuch"):
        assert pool.get(profile).name == "demo"


def test_a_substitution_is_warned_of_once_for_each_name() -> None:
    warned: list[tuple[str, str]] = []
    core = Core(recognisers(), shared(), lambda asked, given: warned.append((asked, given)))
    core.assign(0, {})
    legs = [chunks(name, utterance("你好", "+f3"), profile=name) for name in ("demo", "zh", "x")]
    for offset, chunk in enumerate(c for leg in legs for c in leg):
        core.accept(0, offset, 1_000_000, chunk)
    assert warned == [("zh", "demo"), ("x", "demo")]  # one a leg, not one a chunk
    told = _Substitutions()
    before = ASR_PROFILES_SUBSTITUTED._value.get()
    with capture_logs() as logs:
        for asked in ("zh", "x", "zh"):
            told(asked, "demo")
    assert [line["asked"] for line in logs] == ["zh", "x"]
    assert ASR_PROFILES_SUBSTITUTED._value.get() == before + 3
