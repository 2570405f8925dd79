"""The codec of a service, on the registry of its settings, and waiting for that registry.

A service learns all current schemas before it works. From then on it asks the registry only about
ids that it has never met: those of older schemas, and poison.
"""

import asyncio
import time
from collections.abc import Callable

from ringlog.log import logger
from ringlog.settings import Settings
from schemas.catalogue import TOPICS
from schemas.envelope import Event
from schemas.registry import Registry, RegistryError
from schemas.wire import Codec

_PAUSE_S = 0.5  # the client has already retried

_log = logger("ringlog.kafka")


def codec_of(config: Settings) -> Codec:
    """A codec on the registry of the settings."""
    return Codec(Registry(config.registry_url, config.registry_timeout_s))


def learn(codec: Codec, told: Callable[[str], None], stopped: Callable[[], bool]) -> bool:
    """Looks up the schemas of all topics; blocks until the registry answers, and calls `told` with
    the reason.

    False when `stopped` came first.
    """
    why = ""
    while not stopped():
        try:
            codec.warm(*TOPICS)
        except RegistryError as error:
            if str(error) != why:
                why = str(error)
                _log.warning("waiting", why=why)
                told(f"registry: {why}")
            time.sleep(_PAUSE_S)
        else:
            if why:
                _log.info("going on", what="registry")
            return True
    return False


async def decode(codec: Codec, topic_name: str, value: bytes | None) -> Event:
    """The validated event; raises Poison. A question to the registry does not block the event loop.
    While the registry is away or gives no clear answer, the record waits, and the codec reports
    that."""
    if not codec.must_ask(value):
        return codec.decode(topic_name, value)
    waits = ""
    try:
        while True:
            try:
                return await asyncio.to_thread(codec.decode, topic_name, value)
            except RegistryError as error:
                why = f"registry: {error}"
                if why != waits:
                    _log.warning("a record waits", topic=topic_name, why=why)
                codec.waiting_for = waits = why
                await asyncio.sleep(_PAUSE_S)
    finally:
        if waits:
            codec.waiting_for = ""
            _log.info("going on", what="registry")
