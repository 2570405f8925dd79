"""Which recogniser serves which `asr_profile`: `models.yaml`, with a site's own entries on top."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ringlog.archives import ModelArchive
from ringlog.settings import root

SHIPPED = root() / "asr_worker" / "models.yaml"
SHIPPED_MODELS = root() / "asr_worker" / "models"
SITE_FILE = "asr-models.yaml"
DOWNLOADS = "models"


class AsrModelsError(ValueError):
    """A models file that cannot be used, or a name that is not in it."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DetectorEntry(_Entry):
    """Thresholds of the voice detector: probabilities at which speech begins and ends."""

    speech_from: Annotated[float, Field(gt=0, lt=1)]
    silence_below: Annotated[float, Field(gt=0, lt=1)]
    pre_roll_ms: Annotated[int, Field(ge=0, le=800)]
    gain_db: Annotated[float, Field(ge=-40, le=20)] = 0.0


class ModelEntry(_Entry):
    """One recogniser of sherpa-onnx."""

    title: str = ""
    type: Annotated[str, Field(pattern="^[a-z0-9_]+$")]
    language: str = ""
    licence: str = ""
    folder: str | None = None
    files: dict[str, str]
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    sample_rate_hz: int = 16_000
    flush_ms: Annotated[int, Field(ge=0, le=5_000)]
    time_scale: float = 1.0
    time_shift_ms: float = 0.0
    archive: ModelArchive | None = None


class ProfileEntry(_Entry):
    """What a call's `asr_profile` means."""

    model: str
    detector: str
    options: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="Added to the model's own, such as hotwords_file"
    )


class AsrModels(_Entry):
    """All recognisers. `model` and `folder_of` raise AsrModelsError for unknown names."""

    default: str
    detectors: dict[str, DetectorEntry]
    models: dict[str, ModelEntry]
    profiles: dict[str, ProfileEntry]
    downloads: Path = Field(Path(".ringlog") / DOWNLOADS, description="Where archives unpack to")

    @model_validator(mode="after")
    def _names_exist(self) -> "AsrModels":
        if self.default not in self.profiles:
            raise ValueError(f"default {self.default!r} is no profile")
        for name, profile in self.profiles.items():
            if profile.model not in self.models:
                raise ValueError(f"profile {name!r} names the unknown model {profile.model!r}")
            if profile.detector not in self.detectors:
                raise ValueError(
                    f"profile {name!r} names the unknown detector {profile.detector!r}"
                )
        return self

    @cached_property
    def known(self) -> str:
        """Names of all models, for messages."""
        return ", ".join(sorted(self.models))

    def model(self, name: str) -> ModelEntry:
        """The entry of a model."""
        if name not in self.models:
            raise AsrModelsError(f"no model {name!r}; known: {self.known}")
        return self.models[name]

    def folder_of(self, name: str) -> Path:
        """Folder that holds, or will hold, a model's files."""
        entry = self.model(name)
        return self.downloads / name if entry.folder is None else SHIPPED_MODELS / entry.folder

    def missing(self, name: str) -> list[Path]:
        """Files of a model that are not there."""
        folder = self.folder_of(name)
        paths = [folder / file for file in self.model(name).files.values()]
        return [path for path in paths if not path.is_file()]


def load(home: Path | None = None) -> AsrModels:
    """The shipped recognisers, with `<home>/asr-models.yaml` on top where there is one.

    Raises AsrModelsError naming the file and the field.
    """
    data = _read(SHIPPED)
    site = home / SITE_FILE if home is not None else None
    if site is not None and site.is_file():
        for key, value in _read(site).items():
            both = isinstance(value, dict) and isinstance(data.get(key), dict)
            data[key] = {**data[key], **value} if both else value
    if home is not None:
        data["downloads"] = home / DOWNLOADS
    try:
        return AsrModels.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise AsrModelsError(f"{site or SHIPPED}: {where}: {first['msg']}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AsrModelsError(f"{path}: {error}") from None
    if not isinstance(data, dict):
        raise AsrModelsError(f"{path}: not a mapping")
    return data
