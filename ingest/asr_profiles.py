"""The recognisers that a caller may name, and the default for a call that names none.

Resolved once, when a call begins: the request or the task's robot, else the site's
`RINGLOG_ASR_PROFILE`, else `default` of the recognisers' registry (`asr-models.yaml`).
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from ringlog import log
from ringlog.asr_models import AsrModels, AsrModelsError, load
from ringlog.settings import Settings

logger = log.logger("ringlog.ingest.asr_profiles")

CLOSED_VOCABULARY: Final = "demo"
"""The shipped model that knows the words of the demo calls and no others."""


class HeardBy(NamedTuple):
    """What hears a call. `closed`: it knows the words of the demo calls and no others."""

    profile: str
    model: str
    title: str
    language: str
    closed: bool


class AsrProfiles:
    """The site's profiles, as they were when the edge started."""

    def __init__(self, default: str, registry: AsrModels) -> None:
        """`default` is the site's setting; empty or unknown: the registry's own default."""
        self._registry = registry
        self.default = default if default in registry.profiles else registry.default

    @property
    def names(self) -> list[str]:
        """All profiles that a call can name, in alphabetical order."""
        return sorted(self._registry.profiles)

    @property
    def default_is_demo(self) -> bool:
        """Whether the closed-vocabulary demo model hears calls that name no profile."""
        return self._registry.profiles[self.default].model == CLOSED_VOCABULARY

    def recogniser_of(self, profile: str) -> HeardBy:
        """What hears calls of a profile: its model, or that of the site's default while its files
        are not here. Looks for the files."""
        registry = self._registry
        known = profile if profile in registry.profiles else self.default
        if registry.missing(registry.profiles[known].model):
            known = self.default
        name = registry.profiles[known].model
        model = registry.model(name)
        return HeardBy(
            profile, name, model.title or name, model.language, name == CLOSED_VOCABULARY
        )

    def resolve(self, named: Iterable[str | None]) -> str:
        """The first profile that is named, else the site's default."""
        return next((name for name in named if name), self.default)


def asr_profiles_of(config: Settings) -> AsrProfiles:
    """Reads the registry and tells the operator what callers without a profile will get."""
    try:
        registry = load(config.home)
    except AsrModelsError as error:
        logger.error("the site's recognisers cannot be read; the shipped ones are known",
                     error=str(error))  # fmt: skip
        registry = load()
    profiles = AsrProfiles(config.asr_profile, registry)
    if config.asr_profile and config.asr_profile != profiles.default:
        logger.warning(
            "RINGLOG_ASR_PROFILE names no recogniser",
            profile=config.asr_profile, instead=profiles.default, known=profiles.names,
        )  # fmt: skip
    if profiles.default_is_demo:
        logger.warning(
            "calls that name no recogniser are heard by the demo model, which knows only the words "
            "of the demo calls: set RINGLOG_ASR_PROFILE for real callers",
            profile=profiles.default,
        )
    return profiles
