"""Dialects of the media WebSocket, one module each. A new one is a class and a line here.

A client names its dialect by the sub-protocol that it offers (RFC 6455 section 1.9), or by
`dialect=` in the URL where it can offer none. Without either it is our own. Dialects whose calls
are named by the first message have a door instead (`ingest.ws.doors`).
"""

from collections.abc import Callable
from typing import Final

from ingest.ws.dialects.asterisk import AsteriskDialect
from ingest.ws.dialects.audio_stream import AudioStreamDialect, RawAudioStreamDialect
from ingest.ws.dialects.base import Dialect, WsRefused
from ingest.ws.dialects.drachtio import DrachtioDialect
from ingest.ws.dialects.own import OwnDialect

OWN: Final = "ringlog"

DIALECTS: Final[dict[str, Callable[[], Dialect]]] = {
    OWN: OwnDialect,
    "media": AsteriskDialect,
    "audio.drachtio.org": DrachtioDialect,
    "audio_stream": AudioStreamDialect,
    "audio_stream_raw": RawAudioStreamDialect,
}
"""By name; each connection has an object of its own."""


def choose(offered: list[str]) -> str | None:
    """The first offered sub-protocol that we speak; None when none was offered.

    Raises WsRefused when we speak none of them: a peer that offers some hangs up without one.
    """
    if not offered:
        return None
    for name in offered:
        if name in DIALECTS:
            return name
    raise WsRefused(f"none of these sub-protocols is known; known: {', '.join(DIALECTS)}")
