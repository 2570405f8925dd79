"""Which recogniser a call gets, resolved once: never silently the demo's."""

from pathlib import Path

import pytest

from ingest.asr_profiles import AsrProfiles, asr_profiles_of
from ringlog.asr_models import load
from ringlog.settings import Settings
from schemas.events import RobotStatus
from streams.robots.pools import Robot


@pytest.mark.parametrize(
    ("setting", "named", "expected"),
    [
        ("zh", (None, None), "zh"),
        ("zh", ("demo", None), "demo"),
        ("zh", ("", "bank"), "bank"),
        ("", (None,), "demo"),  # the registry's default, as shipped
        ("no-such", (None,), "demo"),
    ],
)
def test_who_names_a_profile_first_wins(
    setting: str, named: tuple[str | None, ...], expected: str
) -> None:
    assert AsrProfiles(setting, load()).resolve(named) == expected


def test_the_registrys_default_counts_where_the_site_names_none(tmp_path: Path) -> None:
    (tmp_path / "asr-models.yaml").write_text("default: zh\n")
    profiles = asr_profiles_of(Settings(home=tmp_path))
    assert profiles.resolve((None,)) == "zh" and not profiles.default_is_demo


def test_nothing_names_the_demo_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Review 5: robots, tasks and settings that name no profile leave it to the site."""
    monkeypatch.delenv("RINGLOG_ASR_PROFILE", raising=False)
    assert Settings(_env_file=None).asr_profile == ""
    assert Robot(robot="r", playbooks=["loan"]).asr_profile == ""
    assert RobotStatus.model_fields["asr_profile"].default == ""


@pytest.mark.parametrize(
    ("setting", "warnings"),
    [("", ["demo model"]), ("zh", []), ("fsmn", ["names no recogniser", "demo model"])],
)
def test_the_operator_is_told_what_callers_get(
    setting: str, warnings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asr_profiles_of(Settings(home=tmp_path, asr_profile=setting))
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(warnings)
    assert all(part in text for part, text in zip(warnings, said, strict=True))


def test_a_broken_registry_leaves_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "asr-models.yaml").write_text("default: nobody\n")
    assert asr_profiles_of(Settings(home=tmp_path)).names == ["demo", "zh"]
