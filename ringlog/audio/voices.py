"""Which voice is which: `voices.yaml`, with a site's own entries on top.

A name that is not in it is a voice of espeak-ng.
"""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ringlog.archives import ModelArchive

SHIPPED = Path(__file__).with_name("voices.yaml")
SITE_FILE = "voices.yaml"
DOWNLOADS = "voices"


class VoicesError(ValueError):
    """A voices file that cannot be used, or a name that is not in it."""


class VoiceError(RuntimeError):
    """A voice cannot say a text; the message says why and what helps."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = ""
    language: str = ""
    licence: str = ""


class SherpaVoice(_Entry):
    """A model of sherpa-onnx that speaks."""

    engine: Literal["sherpa"]
    type: Annotated[str, Field(pattern="^[a-z]+$")]
    files: dict[str, str]
    options: dict[str, float] = Field(default_factory=dict)
    rules: tuple[str, ...] = ()
    phonemes: str | None = None
    speaker: Annotated[int, Field(ge=0)] = 0
    speed: Annotated[float, Field(ge=0.5, le=2.0)] = 1.0
    archive: ModelArchive | None = None

    @property
    def file_names(self) -> tuple[str, ...]:
        """All files of the voice's folder that it needs."""
        return (*self.files.values(), *self.rules)


class RecordedVoice(_Entry):
    """Recordings of a person."""

    engine: Literal["recordings"]
    folder: str
    otherwise: str | None = None


Voice = Annotated[SherpaVoice | RecordedVoice, Field(discriminator="engine")]


class Voices(BaseModel):
    """All voices of the registry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    voices: dict[str, Voice]
    home: Path = Path(".ringlog")

    def voice(self, name: str) -> SherpaVoice | RecordedVoice:
        """The entry of a name; raises VoicesError with the names that there are."""
        if name not in self.voices:
            known = ", ".join(sorted(self.voices))
            raise VoicesError(
                f"no voice {name!r} in the registry; known: {known} (any other name is espeak-ng's)"
            )
        return self.voices[name]

    def folder_of(self, name: str) -> Path:
        """Folder that holds, or will hold, a voice's files. Raises VoicesError."""
        entry = self.voice(name)
        if isinstance(entry, RecordedVoice):
            return self.home / entry.folder
        return self.home / DOWNLOADS / name

    def missing(self, name: str) -> list[Path]:
        """Files of a voice that are not there. Raises VoicesError."""
        entry, folder = self.voice(name), self.folder_of(name)
        names = ("texts.tsv",) if isinstance(entry, RecordedVoice) else entry.file_names
        return [folder / file for file in names if not (folder / file).is_file()]


def load(home: Path) -> Voices:
    """The shipped voices, with `<home>/voices.yaml` on top where there is one.

    Raises VoicesError naming the file and the field.
    """
    voices = _read(SHIPPED)
    site = home / SITE_FILE
    where = SHIPPED
    if site.is_file():
        where = site
        voices |= _read(site)
    try:
        return Voices.model_validate({"voices": voices, "home": home})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise VoicesError(f"{where}: {field}: {first['msg']}") from None


def _read(path: Path) -> dict[str, object]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise VoicesError(f"{path}: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("voices"), dict):
        raise VoicesError(f"{path}: needs a section `voices`")
    return dict(data["voices"])
