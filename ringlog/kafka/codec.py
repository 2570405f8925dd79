"""The codec that a service uses, on the registry of its settings."""

from ringlog.settings import Settings
from schemas.registry import Registry
from schemas.wire import Codec


def codec_of(config: Settings) -> Codec:
    """A codec on the registry of the settings."""
    return Codec(Registry(config.registry_url, config.registry_timeout_s))
